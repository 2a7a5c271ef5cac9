"""Whether a model takes stereotypes for likelier, or treats texts otherwise for whom they name."""
