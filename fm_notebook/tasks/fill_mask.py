"""Masked language modelling: continued pre-training on plain texts, and filling the mask in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from fm_notebook.contracts.protocols import Outputs
    from fm_notebook.contracts.results import Report, Score
    from fm_notebook.data.reading import Reading
    from fm_notebook.engine.batching import Examples
    from fm_notebook.engine.models import Loaded, ModelSource

Better = Literal["max", "min"]
_METRICS: Mapping[str, Better] = {
    "masked_perplexity": "min", "top1_accuracy": "max", "top5_accuracy": "max", "loss": "min",
}  # fmt: skip
_PAIR_METRICS: Mapping[str, Better] = {"next_sentence_accuracy": "max"}
MOST_TEXTS = 10_000
"""Texts whose perplexities are kept for a picture: evenly picked if there are more."""
BEST = 5
"""Tokens that are named for each mask, as by the hub's pipeline."""


@dataclass
class FillMask:
    """Cross-entropy over the vocabulary at the hidden tokens, which are drawn anew in each epoch.

    Long texts are cut into consecutive pieces of ``max_length`` tokens: nothing of them is lost.

    Attributes
    ----------
    mask_probability : float
    whole_words : bool
    seed : int
        See `fm_notebook.engine.masking.Masking`.
    next_sentence : bool
        Whether the head for pairs learns along, see `fm_notebook.engine.next_sentence`; evaluations by themselves leave it out.
    predicting : bool
        Whether the texts hold masks to be filled in, instead of tokens to be hidden.
    tokenizer : PreTrainedTokenizerBase or None
        Set by `encode`: `predictions` names tokens by it.
    """

    mask_probability: float = 0.15
    whole_words: bool = False
    seed: int = 0
    next_sentence: bool = False
    predicting: bool = False
    tokenizer: Any = None
    name: ClassVar[str] = "fill-mask"
    fields: ClassVar[frozenset[str]] = frozenset({"mask_probability", "whole_words", "next_sentence"})
    level: ClassVar[Literal["token"]] = "token"

    @property
    def metrics(self) -> Mapping[str, Literal["max", "min"]]:
        """Of the hidden tokens, and of pairs if there are any."""
        return {**_METRICS, **_PAIR_METRICS} if self.next_sentence else _METRICS

    def configure(self, spec: Any) -> FillMask:
        """For the masking of `spec`; a job of its own."""
        return FillMask(
            mask_probability=getattr(spec, "mask_probability", 0.15),
            whole_words=getattr(spec, "whole_words", False),
            seed=getattr(spec, "seed", 0),
            next_sentence=getattr(spec, "next_sentence", False),
            predicting=spec.kind == "predict",
        )

    def reading(self, spec: Any) -> Reading:
        """Texts alone."""
        from fm_notebook.data.reading import Reading

        return Reading(kind="text", text=spec.text, label=None)

    def load_model(self, source: ModelSource, labels: Sequence[str] | None) -> Loaded:
        """The model with its head for the vocabulary, whose weights are the embeddings' where the family ties them."""
        from fm_notebook.engine import models

        del labels
        if self.next_sentence:
            from fm_notebook.engine.next_sentence import both_heads

            return both_heads(models.load(source, "PreTraining"), source.model.source)
        return models.load(source, "MaskedLM")

    def has_head(self, source: ModelSource) -> bool:
        """Whether the weights come with a head for this task."""
        from fm_notebook.engine import models

        return models.has_head(source, "MaskedLM", "PreTraining")

    def encode(self, rows: pa.Table, tokenizer: Any, labels: Sequence[str], *, max_length: int) -> Examples:
        """Texts in pieces of `max_length`, to be masked; to predict for, cut there, with their own masks as targets.

        Raises
        ------
        ModelError
            If the tokenizer has no mask token.
        DataError
            If there is nothing to hide, or to predict no mask.
        """
        from fm_notebook.engine import masking

        del labels
        self.tokenizer, mask = tokenizer, masking.mask_id(tokenizer)
        return self._with_masks(rows, mask, max_length) if self.predicting else self._to_be_masked(rows, mask, max_length)

    def _to_be_masked(self, rows: pa.Table, mask: int, max_length: int) -> Examples:
        import numpy as np

        from fm_notebook.contracts.protocols import IGNORED
        from fm_notebook.engine import masking
        from fm_notebook.engine.batching import Examples
        from fm_notebook.errors import DataError

        numbers, plain = rows["row"].to_numpy(), masking.plain(self.tokenizer, rows["text"], whole_words=self.whole_words)
        if not (plain.units != IGNORED).any():
            raise DataError("masking.nothing_to_hide")
        pieces, units = plain.pieces(self.tokenizer, max_length)
        if self.next_sentence:
            from fm_notebook.engine.next_sentence import pairs

            pieces, units = pairs(self.tokenizer, plain.ids, plain.lengths, plain.units, numbers, max_length)
        draw = masking.Masking(mask, masking.vocabulary(self.tokenizer), self.mask_probability, self.seed)
        weights = np.broadcast_to(np.float32(1), units.shape)
        return Examples(pieces.tokens, units, weights, numbers[pieces.owner], "token", draw)

    def _with_masks(self, rows: pa.Table, mask: int, max_length: int) -> Examples:
        import numpy as np

        from fm_notebook.contracts.protocols import IGNORED
        from fm_notebook.engine.batching import Examples
        from fm_notebook.engine.tokens import tokenize
        from fm_notebook.errors import DataError

        tokens = tokenize(self.tokenizer, rows["text"], None, max_length)
        targets = np.where(tokens.ids == mask, tokens.ids, IGNORED).astype(np.int64)
        if not (targets != IGNORED).any():
            raise DataError("masking.no_mask", mask=self.tokenizer.mask_token)
        weights = np.broadcast_to(np.float32(1), targets.shape)
        return Examples(tokens, targets, weights, rows["row"].to_numpy(), "token")

    def losses(self, logits: Any, targets: Any) -> Any:
        """Negative log-likelihood of each hidden token, shape ``(n,)``, from logits ``(n, V)``."""
        from fm_notebook.engine import likelihood, next_sentence

        return next_sentence.losses(logits, targets) if self.next_sentence else likelihood.losses(logits, targets)

    def keep(self, logits: Any, targets: Any) -> Mapping[str, Any]:
        """Loss and rank of the true token, both shape ``(n,)``; to predict, the likeliest tokens and their probabilities."""
        import torch

        from fm_notebook.engine import likelihood, next_sentence

        if self.predicting:
            best = logits.softmax(-1).topk(min(BEST, logits.shape[1]), dim=-1)
            return {"tokens": best.indices, "scores": best.values}
        if not self.next_sentence:
            return {"loss": likelihood.losses(logits, targets), "rank": likelihood.ranks(logits, targets)}
        rank = likelihood.ranks(logits[:, :-2], targets.clamp(min=0))
        rank = torch.where(targets < 0, next_sentence.wrong(logits, targets), rank)
        return {"loss": next_sentence.losses(logits, targets), "rank": rank}

    def report(self, outputs: Outputs, labels: Sequence[str], *, seed: int) -> Report:
        """Mean loss over hidden tokens, e to its power, and how often the true token is the likeliest or among five.

        ``masked_perplexity`` is not the perplexity of a causal model, nor the pseudo-perplexity that hides one token at a time
        (Salazar et al. 2020): it falls and rises with the share of hidden tokens, which is 15 % here.
        """
        from fm_notebook.contracts.results import Report
        from fm_notebook.metrics import language

        del labels
        token, owners = outputs.targets >= 0, outputs.owners
        loss, rank = (outputs.values[name] for name in ("loss", "rank"))
        scores = language.evaluate(loss[token], rank[token], owners[token], seed=seed)
        named = {"perplexity": "masked_perplexity"}
        scores = [score.model_copy(update={"name": named.get(score.name, score.name)}) for score in scores]
        if self.next_sentence:
            scores.append(_of_pairs(rank[~token], owners[~token], seed))
        each = language.text_perplexities(loss[token], owners[token])
        return Report(scores=scores, text_perplexities=each[:: -(-len(each) // MOST_TEXTS)].tolist())

    def predictions(self, outputs: Outputs, rows: pa.Table, labels: Sequence[str]) -> pa.Table:
        """For each text the likeliest tokens at each of its masks; where tokens were hidden, how many, and their mean loss."""
        del labels
        return self._filled(outputs) if self.predicting else _scored(outputs, len(rows))

    def _filled(self, outputs: Outputs) -> pa.Table:
        """Column ``filled``: of each text the likeliest tokens at its masks, ``place`` being the mask's number from the left."""
        import pyarrow as pa

        tokens, scores = (outputs.values[name].tolist() for name in ("tokens", "scores"))
        names = {token: self.tokenizer.decode([token]) for token in {token for best in tokens for token in best}}
        found: list[list[dict[str, Any]]] = [[] for _ in outputs.counts]
        for owner, best, likely in zip(outputs.owners.tolist(), tokens, scores, strict=True):
            place = len(found[owner]) // len(best)
            for token, score in zip(best, likely, strict=True):
                found[owner].append({"token": token, "token_str": names[token], "score": score, "place": place})
        kind = pa.struct(
            [("token", pa.int64()), ("token_str", pa.large_string()), ("score", pa.float64()), ("place", pa.int32())]
        )  # fmt: skip
        return pa.table({"filled": pa.array(found, pa.list_(kind))})


def _of_pairs(wrong: np.ndarray, owners: np.ndarray, seed: int) -> Score:
    import numpy as np

    from fm_notebook.metrics.resampling import clustered_share

    _, texts = np.unique(owners, return_inverse=True)
    return clustered_share(
        "next_sentence_accuracy",
        np.bincount(texts[wrong == 0], minlength=len(set(owners.tolist()))),
        np.bincount(texts),
        seed=seed,
    )


def _scored(outputs: Outputs, n: int) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    token = outputs.targets >= 0
    owners = outputs.owners[token]
    hidden = np.bincount(owners, minlength=n)
    with np.errstate(invalid="ignore"):
        losses = np.bincount(owners, outputs.values["loss"][token], minlength=n) / hidden
    return pa.table({"hidden": hidden, "loss": pa.array(losses, from_pandas=True)})


task = FillMask()
