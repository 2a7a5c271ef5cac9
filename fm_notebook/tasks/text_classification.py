"""One label a text, any number of labels, or a number; for texts or pairs of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from fm_notebook.contracts.protocols import Outputs
    from fm_notebook.contracts.results import Report
    from fm_notebook.data.reading import Reading
    from fm_notebook.engine.batching import Examples
    from fm_notebook.engine.models import Loaded, ModelSource

Problem = Literal["single-label", "multi-label", "regression"]
_METRICS: Mapping[Problem, Mapping[str, Literal["max", "min"]]] = {
    "single-label": {"macro_f1": "max", "accuracy": "max", "loss": "min"},
    "multi-label": {"macro_f1": "max", "micro_f1": "max", "subset_accuracy": "max", "loss": "min"},
    "regression": {"rmse": "min", "mae": "min", "spearman": "max", "loss": "min"},
}

_MOST_POINTS = 2000


@dataclass(frozen=True)
class TextClassification:
    """Cross-entropy over C classes; with several labels a text binary cross-entropy of each; for numbers the squared error."""

    problem: Problem = "single-label"
    class_weight: Any = None
    name = "text-classification"
    fields = frozenset({"problem", "class_weight", "text_pair", "by", "positive", "min_n"})
    level: Literal["text"] = "text"

    @property
    def metrics(self) -> Mapping[str, Literal["max", "min"]]:
        """By problem."""
        return _METRICS[self.problem]

    def configure(self, spec: Any) -> TextClassification:
        """For the problem and class weights of `spec`."""
        problem = spec.problem if spec.problem != "auto" else "single-label"
        return TextClassification(problem, getattr(spec, "class_weight", None))

    def reading(self, spec: Any) -> Reading:
        """A text or a pair, and its label."""
        from fm_notebook.data.grouped import columns_of
        from fm_notebook.data.reading import Reading

        groups = columns_of(getattr(spec, "by", ()))
        return Reading(kind=spec.problem, text=spec.text, text_pair=spec.text_pair, label=spec.label, groups=groups)

    def load_model(self, source: ModelSource, labels: Sequence[str] | None) -> Loaded:
        """The model with a head of C logits (one for numbers); with ``labels=None`` its own head."""
        from fm_notebook.engine import models

        kind = {"single-label": "single_label_classification", "multi-label": "multi_label_classification"}
        return models.load_classifier(source, labels, kind.get(self.problem, "regression"))

    def has_head(self, source: ModelSource) -> bool:
        """Whether the weights come with a head for this task."""
        from fm_notebook.engine import models

        return models.has_head(source)

    def encode(self, rows: pa.Table, tokenizer: Any, labels: Sequence[str], *, max_length: int) -> Examples:
        """Texts with their class numbers ``(N,)``, labels as 0 and 1 ``(N, C)``, or numbers ``(N,)``."""
        from fm_notebook.engine.batching import Examples
        from fm_notebook.engine.tokens import tokenize

        pairs = rows["text_pair"] if "text_pair" in rows.column_names else None
        tokens = tokenize(tokenizer, rows["text"], pairs, max_length)
        targets = self._targets(rows, len(labels))
        return Examples(tokens, targets, self.weights(targets, labels), rows["row"].to_numpy())

    def _targets(self, rows: pa.Table, classes: int) -> np.ndarray:
        import numpy as np

        if "label" not in rows.column_names:
            return np.full(len(rows), -1, np.int64)
        if self.problem == "regression":
            return rows["label"].to_numpy().astype(np.float32)
        if self.problem == "single-label":
            return rows["label"].to_numpy().astype(np.int64)
        lists = rows["label"].combine_chunks()
        several = np.zeros((len(rows), classes), np.float32)
        several[np.repeat(np.arange(len(rows)), np.diff(lists.offsets)), lists.flatten()] = 1
        return several

    def weights(self, targets: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        """Weight of each example's loss, shape ``(N,)``, by the spec's ``class_weight``."""
        import numpy as np

        from fm_notebook.engine.class_weights import class_weights

        if self.problem != "single-label":
            return np.ones(len(targets), np.float32)
        return class_weights(targets, labels, self.class_weight)[targets]

    def losses(self, logits: Any, targets: Any) -> Any:
        """Loss of each example, shape ``(B,)``, from logits ``(B, C)``."""
        from torch.nn import functional

        if self.problem == "regression":
            return (logits[:, 0] - targets) ** 2
        if self.problem == "multi-label":
            return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)
        return functional.cross_entropy(logits, targets, reduction="none")

    def keep(self, logits: Any, targets: Any) -> Mapping[str, Any]:
        """The logits."""
        del targets
        return {"logits": logits}

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """In float64, shape ``(N, C)``: softmax over classes, or of several labels the sigmoid of each; numbers as they are."""
        import numpy as np
        from scipy.special import expit

        logits = logits.astype(np.float64)
        if self.problem == "regression":
            return logits
        if self.problem == "multi-label":
            return expit(logits)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return powers / powers.sum(axis=1, keepdims=True)

    def margins(self, logits: np.ndarray) -> np.ndarray:
        """How far each text is from other labels, in logits, shape ``(N,)``: of several labels each turns at 0 by itself."""
        import numpy as np

        from fm_notebook.engine.evaluation import two_best

        return np.abs(logits).min(axis=1) if self.problem == "multi-label" else two_best(logits)

    def report(self, outputs: Outputs, labels: Sequence[str], *, seed: int) -> Report:
        """Scores of the likeliest classes, of each label at 0.5, or of the numbers."""
        from fm_notebook.contracts.results import Report, Score
        from fm_notebook.metrics import classification, multilabel, regression
        from fm_notebook.metrics.intervals import mean_t

        given = self.probabilities(outputs.values["logits"])
        if self.problem == "regression":
            errors = (given[:, 0] - outputs.targets) ** 2
            loss = Score(name="loss", value=float(errors.mean()), n=len(errors), interval=mean_t(errors))
            scores = [*regression.evaluate(given[:, 0], outputs.targets, seed=seed), loss]
            some = slice(None, None, -(-len(given) // _MOST_POINTS))
            return Report(scores=scores, points=list(zip(outputs.targets[some].tolist(), given[some, 0].tolist(), strict=True)))
        judge = multilabel.evaluate if self.problem == "multi-label" else classification.evaluate
        found = judge(given, outputs.targets, labels, seed=seed)
        return Report(scores=found.scores, classes=found.classes, confusion=getattr(found, "confusion", []))

    def classes(self, outputs: Outputs, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """True classes ``(N,)`` and probabilities ``(N, C)``, where each row has one class."""
        del labels
        return outputs.targets, self.probabilities(outputs.values["logits"])

    def predictions(self, outputs: Outputs, rows: pa.Table, labels: Sequence[str]) -> pa.Table:
        """Column ``label`` and the probability of each class; of several labels a list; for numbers ``value``."""
        import pyarrow as pa

        del rows
        given = self.probabilities(outputs.values["logits"])
        if self.problem == "regression":
            return pa.table({"value": given[:, 0]})
        if self.problem == "multi-label":
            chosen = [[labels[i] for i in row.nonzero()[0]] for row in given >= 0.5]
            first = ("labels", pa.array(chosen, pa.list_(pa.large_string())))
        else:
            first = ("label", pa.array([labels[i] for i in given.argmax(axis=1)], pa.large_string()))
        columns = [first, *((label, pa.array(given[:, i])) for i, label in enumerate(labels))]
        return pa.Table.from_arrays([column for _, column in columns], names=[name for name, _ in columns])


task = TextClassification()
