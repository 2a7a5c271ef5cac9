"""Training rows once more with the words of one gender exchanged for those of the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from fm_notebook import messages
from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from fm_notebook.contracts.events import Noted
    from fm_notebook.contracts.protocols import TrainingRows
    from fm_notebook.data.swapping import Swapper

_TEXTS = ("text", "text_pair", "prompt", "completion")


class Spec(Frozen):
    """What is exchanged.

    Attributes
    ----------
    axis : str
        Only ``gender`` yet: its words can be exchanged one for one in English and Chinese.
    names : bool
        Whether given names are exchanged too (English ones, a few dozen).
    """

    axis: Literal["gender"] = "gender"
    names: bool = True


class CounterfactualAugmentation:
    """A `fm_notebook.contracts.protocols.Mitigation`, two-sided: a text that names a gender is there as it was and exchanged."""

    name = "counterfactual-augmentation"
    stage: Literal["pre-processing"] = "pre-processing"
    kinds = frozenset({"single-label", "multi-label", "regression", "text", "completion"})
    Spec = Spec
    source = "Lu 2018, https://arxiv.org/abs/1807.11714; Webster 2020, https://arxiv.org/abs/2010.06032"

    @property
    def summary(self) -> str:
        """In a sentence."""
        return messages.text("mitigation.counterfactual_augmentation")

    def groups(self, spec: Spec) -> tuple[str, ...]:
        """None: the words tell."""
        del spec
        return ()

    def apply(self, given: TrainingRows, spec: Spec, *, seed: int) -> tuple[TrainingRows, list[Noted]]:
        """`given` and after it the rows whose text changes, exchanged; a copy has its row's number, label and weight."""
        import numpy as np
        import pyarrow as pa

        from fm_notebook.contracts.events import Noted
        from fm_notebook.data.swapping import swapper

        del seed  # nothing is drawn
        places, copies = _exchanged(given.rows, swapper(spec.axis, names=spec.names))
        told = {"n": len(places), "rows": given.rows.num_rows, "axis": spec.axis}
        if not len(places):
            return given, [Noted(key="mitigation.augmented_none", values=told, level="warning")]
        rows = pa.concat_tables([given.rows, copies])
        weights = np.concatenate([given.weights, given.weights[places]])
        return replace(given, rows=rows, weights=weights), [Noted(key="mitigation.augmented", values=told)]


def _exchanged(rows: pa.Table, swap: Swapper) -> tuple[np.ndarray, pa.Table]:
    """Numbers of the rows that change, shape ``(M,)``, and these rows changed."""
    import numpy as np
    import pyarrow as pa

    names = [name for name in _TEXTS if name in rows.column_names]
    places = np.flatnonzero(np.logical_or.reduce([swap.touches(rows[name]) for name in names]))
    copies, changed = rows.take(pa.array(places)), np.zeros(len(places), bool)
    for name in names:
        before = copies[name].to_pylist()
        after = [text and swap(text) for text in before]
        changed |= np.array([one != other for one, other in zip(before, after, strict=True)], bool)
        copies = _with(copies, name, pa.array(after, copies.schema.field(name).type))
    return places[changed], _named_anew(copies.filter(pa.array(changed)), names)


def _named_anew(copies: pa.Table, names: list[str]) -> pa.Table:
    """`copies` with the groups that are told by their words, which now are others."""
    from fm_notebook.data.derived_groups import BY_WORDS, derived
    from fm_notebook.data.grouped import PREFIX

    for column in copies.column_names:
        name = column.removeprefix(PREFIX)
        if name != column and name.partition(":")[0] in BY_WORDS and len(copies):
            copies = _with(copies, column, derived(name, [copies[each] for each in names]))
    return copies


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), table.schema.field(name), values)


mitigation = CounterfactualAugmentation()
