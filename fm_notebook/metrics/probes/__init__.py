"""What answers to probes come to: the arithmetic of each, without a model."""
