"""What a probe promises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from fm_notebook.contracts.capabilities import Capability, Subject
from fm_notebook.contracts.probe_reports import Summary
from fm_notebook.contracts.probe_specs import Remark

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import BaseModel

SKIPPED = "skipped"
"""Column of scores: why an item has none (a key of the catalogue's ``skipped``), null if it has."""
VALUE = "value"
"""Column of scores, float64: the item's own signed number, above 0 towards the stereotype; what two models are compared by."""
CHOICE = "choice"
"""Column of scores, bool: whether the item prefers the stereotype; null for a tie. Only where items choose."""
PIECES = "pieces"
"""Column of scores, ``list<struct<text: string, start: int32, end: int32, value: float64>>``: what each token of the item's first
text adds to `VALUE`; and `OTHER_PIECES` of its second text: all of both add up to it. Only where a score is a sum over tokens."""
OTHER_PIECES = "other_pieces"


@dataclass(frozen=True)
class ProbeItems:
    """The items that a probe asks, and whose they are.

    Attributes
    ----------
    table : pyarrow.Table
        One row an item. ``id`` (string, unique) and ``axis`` (string) are always there; ``block`` (string) if items must be
        scored together, and ``cluster`` if they are not independent. The rest is the probe's own; the first of `texts` is what
        is shown of an item.
    texts : tuple of str
        Columns that the model reads.
    origin : str
        ``seed``, ``public`` or ``own``.
    name, licence, citation : str
        Of the data; `licence` is ``unknown`` where nobody says.
    language : str
        ``en``, ``zh`` or empty.
    dropped : tuple of (str, int)
        Rows of the user's data that are no items, by reason (``skipped.<reason>``): none is left out silently.
    remarks : tuple of Remark
    """

    table: pa.Table
    texts: tuple[str, ...]
    origin: Literal["seed", "public", "own"]
    name: str
    licence: str
    citation: str = ""
    language: str = ""
    dropped: tuple[tuple[str, int], ...] = ()
    remarks: tuple[Remark, ...] = ()


@runtime_checkable
class Probe(Protocol):
    """A question that is put to a model, and what its answers come to. Importing its module loads no torch and no NumPy.

    Attributes
    ----------
    name, source : str
        `source` cites who described it.
    version : int
        Grows when the same spec gives other figures, so that none is reused.
    Spec : type
        Its fields, a pydantic model; ``variant`` among them if it has several algorithms, ``language`` if it has seed sets.
    """

    name: str
    version: int
    Spec: type[BaseModel]
    source: str

    @property
    def summary(self) -> str:
        """What it asks, in a sentence of the reader's language."""
        ...

    def needs(self, spec: Any) -> frozenset[Capability]:
        """What the model must be able to."""
        ...

    def suited(self, spec: Any, able: frozenset[Capability]) -> Any:
        """`spec` with what the user left open chosen for a model that is `able` (``variant = "auto"``); unchanged if nothing is.

        Told before the model is loaded. The result's `needs` may be more than the model is able to, which is then refused.
        """
        ...

    def read(self, given: Path | pa.Table | None, spec: Any) -> ProbeItems:
        """The items in `given`, checked, or of our seed set; in the notebook's kernel, before any model is loaded.

        Raises
        ------
        DataError
            If the format is not what it takes, with what was found and what is expected.
        """
        ...

    def score(self, subject: Subject, items: pa.Table, spec: Any) -> pa.Table:
        """What the model says of `items`, some of the rows of `read`'s table (whole blocks).

        As many rows, in their order. The columns are others than the items'; `VALUE` and `SKIPPED` are among them. The schema
        is the same for any items.
        """
        ...

    def summarise(self, rows: pa.Table, spec: Any) -> Summary:
        """What scored rows (items and scores side by side, none skipped) come to; any part of the rows gives a summary.

        Works on published answers too, without a model. `rows` may be empty: then there are no measurements.
        """
        ...
