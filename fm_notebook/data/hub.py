"""Rows of a data set on the Hugging Face hub, through ``datasets``. The one place in data/ that may use the network.

Syntax: ``owner/name``, ``owner/name:split``, ``owner/name[config]``, ``owner/name[config]:split``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fm_notebook.data import offline
from fm_notebook.data.values import from_value
from fm_notebook.data.wording import listed
from fm_notebook.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

HUB_ID = re.compile(r"(?P<id>[\w.-]+(/[\w.-]+)?)(\[(?P<config>[^\[\]]+)\])?(:(?P<split>[\w.-]+))?", re.ASCII)
HELD_OUT = ("validation", "valid", "dev", "test")


def from_hub(text: str, *, field: str, line: int | None = None) -> pa.Table:
    """The rows of one split of a data set on the hub.

    Without a split, ``train`` is taken for the field ``train``, else the first there is of ``validation``, ``valid``, ``dev`` and
    ``test``. ``HF_HUB_OFFLINE=1`` and ``HF_ENDPOINT`` are honoured by ``datasets``. Code of a data set is never run.

    Raises
    ------
    DataError
        If `text` is no hub id, the data set, configuration or split is not there, or it cannot be reached.
    """
    if not (match := HUB_ID.fullmatch(text)):
        raise DataError("data.hub.syntax", line=line, field=field, text=text)
    splits = _load(match["id"], match["config"], field, line)
    split = match["split"] or _default_split(list(splits), field)
    if split not in splits:
        hint = did_you_mean(split, list(splits))
        raise DataError("data.hub.split", line=line, id=match["id"], split=split, known=listed(list(splits)), hint=hint)
    return from_value(splits[split], field=field, line=line)


def _default_split(known: list[str], field: str) -> str:
    wanted = ("train",) if field == "train" else HELD_OUT
    return next((name for name in wanted if name in known), known[0] if len(known) == 1 else wanted[0])


def _load(name: str, config: str | None, field: str, line: int | None) -> Any:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    offline.honour()
    faults: dict[str, Any] = {"id": name, "field": field}
    try:
        return datasets.load_dataset(name, config)
    except DatasetNotFoundError as error:
        raise DataError("data.hub.unknown", line=line, **faults) from error
    except ConnectionError as error:
        raise DataError("data.hub.offline" if offline.is_offline() else "data.hub.unreachable", line=line, **faults) from error
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        raise DataError("data.hub.script", line=line, **faults) from error
    except ValueError as error:
        # An unknown or missing configuration; datasets' own words list those there are.
        raise DataError("data.hub.refused", line=line, reason=str(error).partition("\n")[0][:300], **faults) from error
