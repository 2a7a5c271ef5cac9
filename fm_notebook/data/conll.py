"""CoNLL files: a word a line with its tag in the last column, a blank line after each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from fm_notebook.errors import DataError

ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".bmes")
_TAG = re.compile(r"O|[BIMELSU]-.+")


def conll_table(lines: Iterable[str], *, faults: Mapping[str, Any], line: int | None = None) -> pa.Table:
    """The sentences of a file as columns ``words`` and ``tags``, lists of text.

    Columns are parted by tabs, or if a line has none by spaces; the first is the word, the last its tag. ``-DOCSTART-`` is
    skipped, and so are comments: lines before a sentence's first word that begin with ``#`` and a space and have no tag.

    Raises
    ------
    DataError
        If a line has a word only; it is named by number.
    """
    words: list[list[str]] = [[]]
    tags: list[list[str]] = [[]]
    for number, row in enumerate(lines, start=1):
        if not row.strip():
            if words[-1]:
                words.append([])
                tags.append([])
            continue
        parts = row.rstrip("\r\n").split("\t") if "\t" in row else re.split(" +", row.strip(" \r\n"))
        if parts[0] == "-DOCSTART-" or (row.startswith("# ") and not words[-1] and not _TAG.fullmatch(parts[-1].strip())):
            continue
        if len(parts) < 2:
            raise DataError("data.file.conll", line=line, row=number, **faults)
        words[-1].append(parts[0])
        tags[-1].append(parts[-1].strip())
    n = len(words) - (not words[-1])
    kind = pa.list_(pa.string())
    return pa.table({"words": pa.array(words[:n], kind), "tags": pa.array(tags[:n], kind)})
