"""Classes by how likely a causal language model finds their names: what a model knows before any fine-tuning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from fm_notebook.contracts.protocols import Outputs
    from fm_notebook.contracts.results import Report
    from fm_notebook.data.reading import Reading
    from fm_notebook.engine.batching import Examples
    from fm_notebook.engine.models import Loaded, ModelSource

TEMPLATE = "{text}\nLabel: {label}"


@dataclass(frozen=True)
class ZeroShotClassification:
    r"""The label whose name is the likeliest after the text.

    With the template's part before the name as the prompt x and the name as the tokens y, a label's score is

    - ``sum``: :math:`\ln p(y \mid x)`;
    - ``mean``: the same by token, so that long names are not at a disadvantage (GPT-3's rule, Brown et al. 2020, section 2.4);
    - ``pmi``: :math:`\ln p(y \mid x) - \ln p(y \mid x_0)`, with :math:`x_0` the prompt of an empty text: a name that is likely
      anyway does not win by that (:math:`PMI_{DC}`, Holtzman et al. 2021, equation 3).

    Probabilities are the softmax of the scores over the labels; ``loss`` and probabilities are calibrated only for ``sum``, if at
    all. With `shots`, labelled examples stand before each text, in the template, parted by a blank line. What is longer than
    ``max_length`` is cut on the left, the first examples first, so that the name is always whole.

    Attributes
    ----------
    template : str
        Holds ``{text}``, then ``{label}``; for pairs also ``{text_pair}``.
    shots : sequence of (text, label)
    label_words : dict of str to str
        What stands for a label whose own name says nothing, such as ``0``.
    score : str
        See above.

    References
    ----------
    Brown et al. (2020), *Language Models are Few-Shot Learners*. Holtzman et al. (2021), *Surface Form Competition*.
    """

    template: str = TEMPLATE
    shots: Sequence[tuple[str, str]] = ()
    label_words: Mapping[str, str] | None = None
    score: Literal["sum", "mean", "pmi"] = "sum"
    trains: bool = False
    name: ClassVar[str] = "zero-shot-classification"
    fields: ClassVar[frozenset[str]] = frozenset(
        {"template", "shots", "label_words", "score", "text_pair", "by", "positive", "min_n"}
    )
    level: ClassVar[Literal["token"]] = "token"
    open_labels: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, Literal["max", "min"]]] = {"macro_f1": "max", "accuracy": "max", "loss": "min"}

    def configure(self, spec: Any) -> ZeroShotClassification:
        """For the template, examples and score of `spec`.

        Raises
        ------
        SpecError
            If the template does not hold ``{text}`` and after it ``{label}``.
        """
        from fm_notebook.errors import SpecError

        given = {name: getattr(spec, name, None) or getattr(self, name) for name in ("template", "shots", "label_words", "score")}
        before, found, _ = given["template"].partition("{label}")
        if not found or "{text}" not in before:
            raise SpecError("zero_shot.template", template=given["template"], default=TEMPLATE)
        return ZeroShotClassification(**given, trains=spec.kind == "finetune")

    def reading(self, spec: Any) -> Reading:
        """A text or a pair, and its label."""
        from fm_notebook.data.grouped import columns_of
        from fm_notebook.data.reading import Reading

        groups = columns_of(getattr(spec, "by", ()))
        return Reading(kind="single-label", text=spec.text, text_pair=spec.text_pair, label=spec.label, groups=groups)

    def load_model(self, source: ModelSource, labels: Sequence[str] | None) -> Loaded:
        """The causal language model as it is.

        Raises
        ------
        SpecError
            If it is to be fine-tuned.
        ModelError
            If it sees the tokens that it should foretell, as an encoder does.
        """
        from fm_notebook.engine import causal
        from fm_notebook.errors import SpecError

        del labels
        if self.trains:
            raise SpecError("zero_shot.no_training")
        return causal.load(source)

    def has_head(self, source: ModelSource) -> bool:
        """Whether the weights come with a head for the next token."""
        from fm_notebook.engine import models

        return models.has_head(source, "CausalLM")

    def encode(self, rows: pa.Table, tokenizer: Any, labels: Sequence[str], *, max_length: int) -> Examples:
        """C sequences a text, one for each label; for ``pmi`` C of an empty text before them. Targets are the names' tokens.

        Marked (see `fm_notebook.engine.causal.shift`) with 1 + the text's true class, or 0 where that is not known.

        Raises
        ------
        SpecError
            If an example in `shots` has a label that there is not.
        """
        import numpy as np

        from fm_notebook.engine import causal

        texts, pairs = rows["text"].to_pylist(), rows["text_pair"].to_pylist() if "text_pair" in rows.column_names else None
        true = rows["label"].to_numpy().astype(np.int64) + 1 if "label" in rows.column_names else np.zeros(len(rows), np.int64)
        numbers = rows["row"].to_numpy()
        if self.score == "pmi":
            texts, pairs = ["", *texts], pairs and ["", *pairs]
            true, numbers = np.append(0, true), np.append(-1, numbers)
        shown = self._shown(labels)
        asked = [shown + self._prompt(text, pairs[i] if pairs else "") for i, text in enumerate(texts)]
        prompts = [prompt.rstrip() for prompt in asked]
        names = [prompt[len(bare) :] + self._name(label) for prompt, bare in zip(asked, prompts, strict=True) for label in labels]
        found = causal.completions(
            tokenizer, [prompt for prompt in prompts for _ in labels], names, max_length, only=True, ended=False, cut="left"
        )
        return found.examples(np.repeat(numbers, len(labels)), np.repeat(true, len(labels)))

    def prompt(self, text: str, pair: str, labels: Sequence[str]) -> tuple[str, int]:
        """What stands before a label's name, and the character at which `text` begins in it."""
        shown = self._shown(labels)
        head = self.template.partition("{text}")[0].replace("{text_pair}", pair)
        return shown + self._prompt(text, pair), len(shown) + len(head)

    def _shown(self, labels: Sequence[str]) -> str:
        """The labelled examples before each text."""
        from fm_notebook.errors import SpecError

        for _, label in self.shots:
            if label not in labels:
                raise SpecError("zero_shot.shot", label=label, known=", ".join(labels[:20]))
        return "".join(f"{self._prompt(text, '')}{self._name(label)}\n\n" for text, label in self.shots)

    def _prompt(self, text: str, pair: str) -> str:
        """The template up to the label; in one pass, so that what a text holds is never taken for a placeholder."""
        values = {"{text}": text, "{text_pair}": pair}
        return re.sub(r"\{text(_pair)?\}", lambda found: values[found[0]], self.template.partition("{label}")[0])

    def _name(self, label: str) -> str:
        """The label's words and what the template has after them."""
        return (self.label_words or {}).get(label, label) + self.template.partition("{label}")[2]

    def losses(self, logits: Any, targets: Any) -> Any:
        """Negative log-likelihood of each token of a name, shape ``(n,)``, from logits ``(n, V)``."""
        from fm_notebook.engine import causal, likelihood

        return likelihood.losses(logits, targets & causal.TOKEN_MASK)

    def keep(self, logits: Any, targets: Any) -> Mapping[str, Any]:
        """Loss of each token of a name, shape ``(n,)``."""
        return {"loss": self.losses(logits, targets)}

    def scores(self, outputs: Outputs, labels: Sequence[str]) -> np.ndarray:
        """Score of each label for each text, shape ``(N, C)``."""
        import numpy as np

        owners = np.repeat(np.arange(len(outputs)), outputs.counts)
        sums = -np.bincount(owners, outputs.values["loss"].astype(np.float64), minlength=len(outputs))
        found = (sums / np.maximum(outputs.counts, 1) if self.score == "mean" else sums).reshape(-1, len(labels))
        return found[1:] - found[0] if self.score == "pmi" else found

    def report(self, outputs: Outputs, labels: Sequence[str], *, seed: int) -> Report:
        """As for any classifier with one label a text."""
        from fm_notebook.contracts.results import Report
        from fm_notebook.metrics import classification

        true, given = self.classes(outputs, labels)
        found = classification.evaluate(given, true, labels, seed=seed)
        return Report(scores=found.scores, classes=found.classes, confusion=found.confusion)

    def classes(self, outputs: Outputs, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """True classes ``(N,)`` and probabilities ``(N, C)``: the softmax of the labels' scores."""
        import numpy as np
        from scipy.special import softmax

        from fm_notebook.engine import causal

        given = softmax(self.scores(outputs, labels), axis=1)
        firsts = (np.cumsum(outputs.counts) - outputs.counts)[:: len(labels)][-len(given) :]
        return (outputs.targets[firsts] >> causal.TOKEN_BITS) - 1, given

    def predictions(self, outputs: Outputs, rows: pa.Table, labels: Sequence[str]) -> pa.Table:
        """Column ``label`` and the probability of each class."""
        import pyarrow as pa
        from scipy.special import softmax

        del rows
        given = softmax(self.scores(outputs, labels), axis=1)
        chosen = pa.array([labels[i] for i in given.argmax(axis=1)], pa.large_string())
        columns = [("label", chosen), *((label, pa.array(given[:, i])) for i, label in enumerate(labels))]
        return pa.Table.from_arrays([column for _, column in columns], names=[name for name, _ in columns])


task = ZeroShotClassification()
