"""One label a text, or a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    from fm_notebook.contracts.results import Score
    from fm_notebook.engine.models import Loaded, ModelSource


class TextClassification:
    """Cross-entropy over C classes; each text has exactly one."""

    name = "text-classification"
    metrics: Mapping[str, Literal["max", "min"]] = {"macro_f1": "max", "accuracy": "max", "loss": "min"}

    def load_model(self, source: ModelSource, labels: Sequence[str] | None) -> Loaded:
        """The model with a head of C logits; with ``labels=None`` its own head."""
        from fm_notebook.engine import models

        return models.load_classifier(source, labels)

    def has_head(self, source: ModelSource) -> bool:
        """Whether the weights come with a head for this task."""
        from fm_notebook.engine import models

        return models.has_head(source)

    def example_losses(self, logits: Any, batch: Mapping[str, Any]) -> Any:
        """Cross-entropy of each example, shape ``(B,)``, from logits ``(B, C)`` and ``batch["labels"]`` ``(B,)``."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, batch["labels"], reduction="none")

    def example_weights(self, targets: np.ndarray, labels: Sequence[str], class_weight: Any) -> np.ndarray:
        """Weight of each example's loss, shape ``(N,)``.

        Parameters
        ----------
        targets : ndarray of int, shape (N,)
        labels : sequence of str, length C
        class_weight : "balanced", dict or None
            ``balanced`` is ``N / (C n_c)`` as in scikit-learn; a dict gives weights by label, 1 where it is silent.
        """
        import numpy as np

        if class_weight is None:
            return np.ones(len(targets), np.float32)
        if class_weight == "balanced":
            counts = np.bincount(targets, minlength=len(labels))
            weights = len(targets) / (len(labels) * np.maximum(counts, 1))
        else:
            weights = np.array([class_weight.get(label, 1.0) for label in labels])
        return weights[targets].astype(np.float32)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Softmax over classes in float64, shape ``(N, C)``."""
        import numpy as np

        powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return powers / powers.sum(axis=1, keepdims=True)

    def score(self, logits: np.ndarray, targets: np.ndarray, *, seed: int) -> list[Score]:
        """Accuracy and macro F1 of the likeliest classes, with intervals."""
        from fm_notebook.metrics.classification import evaluate

        labels = [str(i) for i in range(logits.shape[1])]
        found = evaluate(self.probabilities(logits), targets, labels, seed=seed).scores
        return [score for score in found if score.name in self.metrics and score.name != "loss"]


task = TextClassification()
