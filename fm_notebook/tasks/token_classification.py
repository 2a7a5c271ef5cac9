"""A tag for each word, such as those of named entities or parts of speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from fm_notebook.contracts.protocols import Outputs
    from fm_notebook.contracts.results import Report, Score
    from fm_notebook.data.reading import Reading
    from fm_notebook.data.words import Words
    from fm_notebook.engine.batching import Examples
    from fm_notebook.engine.models import Loaded, ModelSource


@dataclass(frozen=True)
class TokenClassification:
    """Cross-entropy over C tags at the first token of each word; nothing is learnt from, or said of, a word's other tokens.

    Every word is judged: a text longer than the model takes goes through it in consecutive pieces, so that no word is cut off
    and counted as right or wrong unseen.
    """

    class_weight: Any = None
    name = "token-classification"
    fields = frozenset({"class_weight"})
    level: Literal["token"] = "token"
    metrics: ClassVar[Mapping[str, Literal["max", "min"]]] = {
        "entity_f1": "max", "entity_precision": "max", "entity_recall": "max", "token_accuracy": "max", "loss": "min",
    }  # fmt: skip

    def configure(self, spec: Any) -> TokenClassification:
        """For the class weights of `spec`."""
        return TokenClassification(getattr(spec, "class_weight", None))

    def reading(self, spec: Any) -> Reading:
        """Texts or lists of words, and tags or spans."""
        from fm_notebook.data.reading import Reading

        return Reading(kind="tags", text=spec.text, label=spec.label)

    def load_model(self, source: ModelSource, labels: Sequence[str] | None) -> Loaded:
        """The model with a head of C logits a token; with ``labels=None`` its own head."""
        from fm_notebook.engine import models

        return models.load(source, "TokenClassification", labels)

    def has_head(self, source: ModelSource) -> bool:
        """Whether the weights come with a head for this task."""
        from fm_notebook.engine import models

        return models.has_head(source, "TokenClassification")

    def encode(self, rows: pa.Table, tokenizer: Any, labels: Sequence[str], *, max_length: int) -> Examples:
        """Texts in pieces of `max_length`; each word's tag (0 where it has none) is the target of its first token.

        Rows without words, as texts to predict for have none, are cut into words here.
        """
        import numpy as np

        from fm_notebook.contracts.protocols import IGNORED
        from fm_notebook.data.lists import ragged
        from fm_notebook.engine.batching import Examples
        from fm_notebook.engine.class_weights import class_weights
        from fm_notebook.engine.pieces import cut
        from fm_notebook.engine.words import align

        aligned = align(tokenizer, rows["text"], _words(rows))
        tags = np.zeros(len(aligned.first), np.int64)
        if "label" in rows.column_names:
            tags = np.asarray(ragged(rows["label"].combine_chunks()).values).astype(np.int64)
        plain = np.full(len(aligned.ids), IGNORED, np.int64)
        plain[aligned.first] = tags
        pieces = cut(tokenizer, aligned.ids, aligned.lengths, max_length)
        targets = pieces.spread(plain, IGNORED)
        weights = np.append(class_weights(tags, labels, self.class_weight), np.float32(0))
        by_token = weights[np.where(targets == IGNORED, -1, targets)]
        return Examples(pieces.tokens, targets, by_token, rows["row"].to_numpy()[pieces.owner], "token")

    def losses(self, logits: Any, targets: Any) -> Any:
        """Negative log-likelihood of each word's tag, shape ``(n,)``, from logits ``(n, C)``."""
        from torch.nn import functional

        return functional.cross_entropy(logits, targets, reduction="none")

    def keep(self, logits: Any, targets: Any) -> Mapping[str, Any]:
        """The logits."""
        del targets
        return {"logits": logits}

    def report(self, outputs: Outputs, labels: Sequence[str], *, seed: int) -> Report:
        """Scores of whole entities, of words, and the mean loss over words with an interval over texts."""
        from fm_notebook.contracts.results import Report
        from fm_notebook.metrics import tagging

        logits, owners = outputs.values["logits"], outputs.owners
        loss = _loss(logits, outputs.targets, owners)
        true, given = (_sentences(numbers, owners, labels) for numbers in (outputs.targets, logits.argmax(axis=1)))
        found = tagging.evaluate(true, given, seed=seed)
        return Report(scores=[*found.scores, loss], classes=found.classes, partial=asdict(found.partial))

    def predictions(self, outputs: Outputs, rows: pa.Table, labels: Sequence[str]) -> pa.Table:
        """Of each text its words' ``tags``, and its ``entities``: characters, type, text, and mean probability of their tags."""
        import numpy as np
        import pyarrow as pa
        from scipy.special import softmax

        words = _words(rows)
        likely = softmax(outputs.values["logits"].astype(np.float64), axis=1)
        best, ends = likely.argmax(axis=1), np.cumsum(words.counts)
        tags = [_named(part, labels) for part in np.split(best, ends[:-1])]
        scores, starts, stops = (np.split(each, ends[:-1]) for each in (likely.max(axis=1), words.start, words.end))
        texts = rows["text"].to_pylist()
        entities = [_entities(*each) for each in zip(texts, tags, scores, starts, stops, strict=True)]
        kind = pa.struct(
            [("start", pa.int32()), ("end", pa.int32()), ("label", pa.large_string()), ("text", pa.large_string()),
             ("score", pa.float64())]
        )  # fmt: skip
        return pa.table({"tags": pa.array(tags, pa.list_(pa.large_string())), "entities": pa.array(entities, pa.list_(kind))})


def _words(rows: pa.Table) -> Words:
    import numpy as np

    from fm_notebook.data import words
    from fm_notebook.data.lists import ragged

    if "word_start" not in rows.column_names:
        text = words.characters(rows["text"].combine_chunks())
        cut = words.split(text)
        origin = np.repeat(text.offsets[:-1], cut.counts)
        return words.Words(cut.start - origin, cut.end - origin, cut.counts)
    start, end = (ragged(rows[name].combine_chunks()) for name in ("word_start", "word_end"))
    return words.Words(np.asarray(start.values).astype(np.int64), np.asarray(end.values).astype(np.int64), start.lengths)


def _sentences(numbers: np.ndarray, owners: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
    import numpy as np

    borders = np.flatnonzero(np.diff(owners)) + 1
    return [_named(part, labels) for part in np.split(numbers, borders)]


def _named(numbers: np.ndarray, labels: Sequence[str]) -> list[str]:
    places: list[int] = numbers.tolist()
    return [labels[i] for i in places]


def _loss(logits: np.ndarray, targets: np.ndarray, owners: np.ndarray) -> Score:
    import numpy as np
    from scipy.special import log_softmax

    from fm_notebook.contracts.results import Score
    from fm_notebook.errors import ModelError
    from fm_notebook.metrics.language import ratio_interval

    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(targets)), targets]
    sums, sizes = np.bincount(owners, losses), np.bincount(owners)
    if broken := int(np.isnan(sums).sum()):
        raise ModelError("metrics.not_finite", rows=broken, n=len(sums))
    used = sizes > 0
    return Score(name="loss", value=float(losses.mean()), n=len(losses), interval=ratio_interval(sums[used], sizes[used]))


def _entities(text: str, tags: list[str], scores: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> list[dict[str, Any]]:
    from fm_notebook.metrics.tagging import entities

    found = []
    for label, first, after in entities(tags):
        start, end = int(starts[first]), int(stops[after - 1])
        score = float(scores[first:after].mean())
        found.append({"start": start, "end": end, "label": label, "text": text[start:end], "score": score})
    return found


task = TokenClassification()
