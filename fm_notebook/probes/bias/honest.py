"""How often a model completes a sentence about someone with a word that hurts, and about whom oftener.

`VALUE` is the share of an item's completions that hurt. A masked model fills in one word, which is looked up whole (variant
``masked``); a causal one goes on, and a completion counts once if any of its words is in the lexicon (``causal``). A word of
the lexicon is not always meant to hurt, and what hurts need not be in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.capabilities import MaskedQuery
from fm_notebook.contracts.probe_reports import Summary
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.probing import SKIPPED, VALUE, ProbeItems
from fm_notebook.contracts.values import Count, Frozen
from fm_notebook.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.contracts.capabilities import Capability, Subject, TokenText
    from fm_notebook.data.probe_sets.hurtful import Hurtful

PLACE = "[M]"
"""Where a completion goes, as in HONEST's templates."""
BEAMS = -1
_COLUMNS = ("template_masked", "raw", "identity", "category")


class Spec(Frozen):
    """What is completed, and what counts as hurtful.

    Attributes
    ----------
    language : str
        Of the seed set, and of its list of words if no lexicon is given.
    variant : str
        ``masked``, ``causal``, or what the model is able to.
    lexicon : str or None
        Path of a lexicon such as HurtLex; by default the seed set's small list.
    top_k : int
        Completions of each sentence: HONEST's K.
    max_new_tokens : int
        Longest completion of a causal model; beam search makes the `top_k` likeliest.
    """

    language: Literal["en", "zh"] = "en"
    variant: Literal["auto", "masked", "causal"] = "auto"
    lexicon: str | None = None
    top_k: Count = 5
    max_new_tokens: Count = 10


class Honest:
    """A `fm_notebook.contracts.probing.Probe`."""

    name = "honest"
    version = 1
    Spec = Spec
    source = "Nozza et al. 2021, https://aclanthology.org/2021.naacl-main.191"

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("probe.honest.summary")

    def needs(self, spec: Spec) -> frozenset[Capability]:
        """A head for masked words, or a causal model."""
        return frozenset({"masked_log_probs" if spec.variant == "masked" else "generate"})

    def suited(self, spec: Spec, able: frozenset[Capability]) -> Spec:
        """``masked`` where the model is able to, else ``causal``."""
        if spec.variant != "auto":
            return spec
        return spec.model_copy(update={"variant": "masked" if "masked_log_probs" in able else "causal"})

    def read(self, given: Path | pa.Table | None, spec: Spec) -> ProbeItems:
        """HONEST's templates, or our seed set; each item carries the lexicon, so that a worker elsewhere has it."""
        from fm_notebook.data import seed_sets
        from fm_notebook.data.probe_sets import hurtful

        if spec.lexicon is not None:
            words = hurtful.read(Path(spec.lexicon).expanduser())
        else:
            words = {word: category for category, each in seed_sets.hurtful(spec.language).items() for word in each}
        remarks = _about(words, spec)
        if given is None:
            items = _seeds(seed_sets.prompts(spec.language), spec.language)
            name = f"prompts ({spec.language})"
            return ProbeItems(
                _with_words(items, words), ("text",), "seed", name, seed_sets.LICENCE, language=spec.language, remarks=remarks
            )
        items, dropped = _templates(given)
        is_public = set(items["group"].to_pylist()) <= _PUBLIC_GROUPS
        origin, licence = ("public", "MIT") if is_public else ("own", "unknown")
        return ProbeItems(
            _with_words(items, words), ("text",), origin, "HONEST" if is_public else "honest", licence, self.source,
            dropped=dropped, remarks=remarks,
        )  # fmt: skip

    def score(self, subject: Subject, items: pa.Table, spec: Spec) -> pa.Table:
        """The completions, and which of them hurt."""
        import pyarrow as pa

        hurtful = _words_of(items)
        texts = items["text"].to_pylist()
        if spec.variant == "masked":
            found, look_up = _filled(subject, texts, spec.top_k), hurtful.word
        else:
            prompts = [text.partition(PLACE)[0].rstrip() for text in texts]
            made = subject.generate(prompts, max_new_tokens=spec.max_new_tokens, count=spec.top_k, seed=BEAMS)
            found, look_up = list(made), hurtful.within
        categories = [None if each is None else [look_up(text) for text in each] for each in found]
        hurts = [None if each is None else [category for category in each if category] for each in categories]
        shares = [None if one is None or not each else len(one) / len(each) for one, each in zip(hurts, found, strict=True)]
        return pa.table({
            VALUE: pa.array(shares, pa.float64()),
            SKIPPED: pa.array(["no_single_place" if each is None else None for each in shares], pa.string()),
            "completions": pa.array(found, pa.list_(pa.string())), "hurts": pa.array(hurts, pa.list_(pa.string())),
        })  # fmt: skip

    def summarise(self, rows: pa.Table, spec: Spec) -> Summary:
        """The HONEST score over all, by axis and group, the differences between groups, and by category of word."""
        import numpy as np

        from fm_notebook.metrics.probes.hurtful_share import measurements

        del spec
        if not rows.num_rows:
            return Summary(measurements=[])
        words = {name: np.asarray(rows[name].to_pylist(), object) for name in ("axis", "group", "template", "term")}
        counts = [len(each) for each in rows["completions"].to_pylist()]
        found = measurements(rows[VALUE].to_numpy(), **words, hurts=rows["hurts"].to_pylist(), completions=np.array(counts))
        templates, terms = (len(set(words[name])) for name in ("template", "term"))
        return Summary(measurements=found, remarks=[Remark(key="swap_clusters", values={"templates": templates, "terms": terms})])


_PUBLIC_GROUPS = frozenset({
    "female", "male", "queer", "nonqueer", "queer_gender", "queer_orientation", "queer_gender_pronoun", "queer_gender_xenogender",
    "nonqueer_gender", "nonqueer_orientation",
})  # fmt: skip


def _about(words: dict[str, str], spec: Spec) -> tuple[Remark, ...]:
    from fm_notebook.data.mentions import HAN

    key = "honest_seed_words" if spec.lexicon is None else "honest_lexicon"
    said = [Remark(key=key, values={"n": len(words)})]
    if any(HAN.search(word) for word in words) and spec.variant == "masked":
        said.append(Remark(key="honest_one_character", level="warning"))
    return tuple(said)


def _seeds(prompts: pa.Table, language: str) -> pa.Table:
    """A seed prompt stops where the model goes on; a masked model fills one word in there."""
    import pyarrow as pa

    end = f"{PLACE}。" if language == "zh" else f" {PLACE}."
    texts = [each.rstrip() + end for each in prompts["prompt"].to_pylist()]
    return prompts.select(["id", "axis", "group", "template", "term"]).append_column("text", pa.array(texts, pa.string()))


def _templates(given: Path | pa.Table) -> tuple[pa.Table, tuple[tuple[str, int], ...]]:
    """HONEST's columns; the axis is ``gender`` if the categories are female and male, else ``identity``.

    Raises
    ------
    DataError
        If columns are missing.
    """
    import pyarrow as pa

    from fm_notebook.data.files import from_file
    from fm_notebook.data.wording import listed

    table = from_file(given, field="data") if isinstance(given, Path) else given
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise DataError(
            "questions.columns", missing=listed(missing), found=listed(table.column_names), expected=", ".join(_COLUMNS)
        )
    rows = [{name: str(value or "").strip() for name, value in row.items()} for row in table.select(_COLUMNS).to_pylist()]
    kept = [row for row in rows if row["template_masked"].count(PLACE) == 1]
    axis = "gender" if {row["category"] for row in kept} <= {"female", "male"} else "identity"
    columns = {"template": "raw", "term": "identity", "group": "category", "text": "template_masked"}
    items = {"id": [f"{axis}-{number:05d}" for number in range(len(kept))], "axis": [axis] * len(kept)}
    items |= {name: [row[source] for row in kept] for name, source in columns.items()}
    dropped = (("no_place", len(rows) - len(kept)),) if len(kept) < len(rows) else ()
    return pa.table({name: pa.array(values, pa.string()) for name, values in items.items()}), dropped


def _with_words(items: pa.Table, words: dict[str, str]) -> pa.Table:
    """The lexicon as a column that is stored once: it is part of what was asked, and of its fingerprint."""
    import pyarrow as pa

    whole = "\n".join(f"{category}\t{word}" for word, category in sorted(words.items()))
    codes = pa.array([0] * len(items), pa.int32())
    return items.append_column("lexicon", pa.DictionaryArray.from_arrays(codes, pa.array([whole], pa.string())))


def _words_of(items: pa.Table) -> Hurtful:
    from fm_notebook.data.probe_sets.hurtful import Hurtful

    lines = (line.partition("\t") for line in str(items["lexicon"][0].as_py()).split("\n"))
    return Hurtful.of({word: category for category, _, word in lines})


def _filled(subject: Subject, texts: Sequence[str], count: int) -> list[list[str] | None]:
    """The likeliest words at each text's place; None where that is not one token."""
    starts = [text.index(PLACE) for text in texts]
    # Any one letter keeps the place; the mask stands in its stead.
    shown = [text.replace(PLACE, "x", 1) for text in texts]
    tokens = subject.tokens(shown)
    places = [_place(each, start) for each, start in zip(tokens, starts, strict=True)]
    asked = [number for number, place in enumerate(places) if place is not None]
    queries = [MaskedQuery(tokens[number], (place,), ()) for number, place in enumerate(places) if place is not None]
    found: list[list[str] | None] = [None] * len(texts)
    for number, words in zip(asked, subject.likeliest(queries, count), strict=True):
        found[number] = [word for word, _ in words] or None
    return found


def _place(text: TokenText, start: int) -> int | None:
    """The one token that holds the character at `start` and no other letter of its word."""
    held = [at for at, (begin, end) in enumerate(text.offsets) if not text.special[at] and begin <= start < end]
    return held[0] if len(held) == 1 and text.offsets[held[0]][1] == start + 1 else None


probe = Honest()
