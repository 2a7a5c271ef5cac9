"""What plug-ins promise. Structural: nothing is inherited, a fake of ten lines satisfies each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from fm_notebook.contracts.results import Score

Command = Literal["run", "pause", "stop", "cancel"]
ReadCommand = Callable[[], Command]
"""Asked at every step border for what the user wants now."""


@runtime_checkable
class Task(Protocol):
    """One kind of problem, such as ``text-classification``. Importing its module loads no torch.

    Attributes
    ----------
    name : str
        The hub's pipeline tag.
    metrics : Mapping
        Names of held-out metrics and whether ``max`` or ``min`` is better; the first is the default.
    """

    name: str
    metrics: Mapping[str, Literal["max", "min"]]

    def load_model(self, source: Any, labels: Sequence[str] | None) -> Any:
        """The pretrained model with a head for `labels` (a fresh one where the weights have none); None keeps the model's own.

        `source` is a `fm_notebook.engine.models.ModelSource`, the answer a `Loaded`.
        """
        ...

    def has_head(self, source: Any) -> bool:
        """Whether the weights come with a head for this task."""
        ...

    def example_losses(self, logits: Any, batch: Mapping[str, Any]) -> Any:
        """Loss of each example, a tensor of shape ``(B,)``; the engine weights and averages them."""
        ...

    def example_weights(self, targets: np.ndarray, labels: Sequence[str], class_weight: Any) -> np.ndarray:
        """Weight of each example's loss, shape ``(N,)``, as the spec's ``class_weight`` asks."""
        ...

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Class probabilities, shape ``(N, C)``, from logits of the same shape."""
        ...

    def score(self, logits: np.ndarray, targets: np.ndarray, *, seed: int) -> list[Score]:
        """Held-out metrics but for ``loss``, with intervals, from logits of shape ``(N, C)`` and targets ``(N,)``."""
        ...
