"""Causal language modelling: texts, prompts with completions, or conversations; and going on from a prompt."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.contracts.events import ItemsScored
    from fm_notebook.contracts.protocols import Outputs, ReadCommand
    from fm_notebook.contracts.results import Report
    from fm_notebook.data.reading import Reading
    from fm_notebook.engine.batching import Examples
    from fm_notebook.engine.models import Loaded, ModelSource
    from fm_notebook.engine.tokens import Tokens

_MOST_TEXTS = 2000
"""Texts that the picture shows."""


@dataclass(frozen=True)
class TextGeneration:
    """Cross-entropy of each token given those before it; a mean over tokens, so that long texts count for more.

    Attributes
    ----------
    completion_only_loss : bool
        Whether only completions, or what the assistant says, are learnt and scored.
    max_new_tokens, temperature, seed
        See `fm_notebook.engine.generation.Sampling`.
    """

    completion_only_loss: bool = False
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0
    name: ClassVar[str] = "text-generation"
    fields: ClassVar[frozenset[str]] = frozenset({"prompt", "completion", "messages", "completion_only_loss"})
    level: ClassVar[Literal["token"]] = "token"
    metrics: ClassVar[Mapping[str, Literal["max", "min"]]] = {
        "perplexity": "min", "top1_accuracy": "max", "top5_accuracy": "max", "loss": "min",
    }  # fmt: skip

    def configure(self, spec: Any) -> TextGeneration:
        """For what `spec` learns, scores or generates."""
        return TextGeneration(**{
            name: getattr(spec, name, getattr(self, name))
            for name in ("completion_only_loss", "max_new_tokens", "temperature", "seed")
        })  # fmt: skip

    def reading(self, spec: Any) -> Reading:
        """Texts, ``prompt`` and ``completion``, or ``messages``: by the fields, else by the columns that are there."""
        from fm_notebook.data.reading import Reading

        return Reading(
            kind="generation", text=spec.text, label=None, prompt=spec.prompt, completion=spec.completion, messages=spec.messages
        )

    def load_model(self, source: ModelSource, labels: Sequence[str] | None) -> Loaded:
        """The model with its head for the next token.

        Raises
        ------
        ModelError
            If the model sees the tokens that it should foretell, as an encoder does.
        """
        from fm_notebook.engine import causal

        del labels
        return causal.load(source)

    def has_head(self, source: ModelSource) -> bool:
        """Whether the weights come with a head for this task."""
        from fm_notebook.engine import models

        return models.has_head(source, "CausalLM")

    def encode(self, rows: pa.Table, tokenizer: Any, labels: Sequence[str], *, max_length: int) -> Examples:
        """Rows of any of the three kinds, cut on the right at `max_length`; a target for each token but the first.

        Raises
        ------
        DataError
            If completions alone are to be learnt and there are none.
        """
        from fm_notebook.engine import causal, chat
        from fm_notebook.errors import DataError

        del labels
        only = self.completion_only_loss
        if "messages" in rows.column_names:
            found = chat.conversations(tokenizer, rows["messages"], max_length, assistant_only=only)
        elif "completion" in rows.column_names:
            found = causal.completions(tokenizer, rows["prompt"], rows["completion"], max_length, only=only)
        elif only:
            raise DataError("generation.no_completions")
        else:
            found = causal.texts(tokenizer, rows["text"], max_length)
        return found.examples(rows["row"].to_numpy())

    def losses(self, logits: Any, targets: Any) -> Any:
        """Negative log-likelihood of each token, shape ``(n,)``, from logits ``(n, V)``."""
        from fm_notebook.engine import likelihood

        return likelihood.losses(logits, targets)

    def keep(self, logits: Any, targets: Any) -> Mapping[str, Any]:
        """Loss and rank of the true token, both shape ``(n,)``."""
        from fm_notebook.engine import likelihood

        return {"loss": likelihood.losses(logits, targets), "rank": likelihood.ranks(logits, targets)}

    def report(self, outputs: Outputs, labels: Sequence[str], *, seed: int) -> Report:
        """Perplexity and mean loss, and how often the true token is the likeliest, or among five."""
        from fm_notebook.contracts.results import Report
        from fm_notebook.metrics import language

        del labels
        losses, owners = outputs.values["loss"], outputs.owners
        each = language.text_perplexities(losses, owners)
        return Report(
            scores=language.evaluate(losses, outputs.values["rank"], owners, seed=seed),
            text_perplexities=each[:: -(-len(each) // _MOST_TEXTS)].tolist(),
        )

    def predictions(self, outputs: Outputs, rows: pa.Table, labels: Sequence[str]) -> pa.Table:
        """Of scored rows: ``tokens`` that were foretold, their mean ``loss`` and ``perplexity``, null where there are none."""
        import numpy as np
        import pyarrow as pa

        del labels
        tokens = np.bincount(outputs.owners, minlength=len(rows))
        with np.errstate(invalid="ignore", over="ignore"):
            losses = np.bincount(outputs.owners, outputs.values["loss"], minlength=len(rows)) / tokens
            perplexities = np.exp(losses)
        found = {"tokens": tokens, "loss": losses, "perplexity": perplexities}
        return pa.table({name: pa.array(values, from_pandas=True) for name, values in found.items()})

    def prompts(self, rows: pa.Table, tokenizer: Any, *, max_length: int) -> Tokens:
        """Texts, prompts, or conversations in the chat template, to go on from; cut on the left at `max_length`."""
        from fm_notebook.engine import causal, chat

        if "messages" in rows.column_names:
            return chat.prompts(tokenizer, rows["messages"], max_length)
        return causal.prompts(tokenizer, rows["prompt" if "prompt" in rows.column_names else "text"], max_length)

    def generate(
        self, model: Any, tokenizer: Any, prompts: Tokens, *, batch_size: int, precision: Any, command: ReadCommand
    ) -> Generator[ItemsScored, None, pa.Table | None]:
        """Column ``text``: how the model goes on after each prompt; None if a command came in between."""
        import pyarrow as pa

        from fm_notebook.engine import causal, chat, generation

        stops = [*causal.ending(tokenizer)[:1], chat.end_of_turn(tokenizer)]
        found = yield from generation.continuations(
            model, tokenizer, prompts, generation.Sampling(self.max_new_tokens, self.temperature, self.seed),
            stops=[token for token in stops if token is not None], batch_size=batch_size, precision=precision, command=command,
        )  # fmt: skip
        return None if found is None else pa.table({"text": pa.array(found, pa.large_string())})


task = TextGeneration()
