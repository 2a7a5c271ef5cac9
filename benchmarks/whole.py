"""``python whole.py NAME WORK``: one peer's whole training, then its score, by the same scorer for all. A child of `train`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import peers
import workload
from blocks import Turns
from workload import Work


class Clock(Turns):
    """No turns: only the time from readiness to the end of the last step."""

    began = ended = 0.0

    def ready(self) -> None:
        self.began = time.perf_counter()

    def step(self, examples: int, tokens: int, seconds: float | None = None) -> None:
        del examples, tokens, seconds
        self.ended = time.perf_counter()


def main() -> None:
    name, work = sys.argv[1], workload.load_work(sys.argv[2])
    clock = Clock(0)
    trained = peers.LOOPS[name](work, clock)
    model = _of_ours(work) if name.startswith("ours") else trained
    kind, value = score(work, model)
    clock.tell(score=value, score_is=kind, seconds=clock.ended - clock.began)


def _of_ours(work: Work) -> Any:
    """The model that a run of ours has left in its folder, read as anybody's."""
    import torch
    import transformers

    (folder,) = (Path(work.folder) / f"ours-{os.getpid()}").glob("runs/*/model")
    return getattr(transformers, workload.HEADS[work.task]).from_pretrained(folder, dtype=torch.float32)


def score(work: Work, model: Any) -> tuple[str, float]:
    """Accuracy, entity F1 (CoNLL's), or mean loss of a token, of the held-out rows; fp32."""
    import torch
    import transformers

    rows = workload.read(work)
    tokenizer = transformers.AutoTokenizer.from_pretrained(work.model)
    held_out = workload.tokenized(work, rows.held_out, rows.names, tokenizer)
    torch.manual_seed(0)  # the same masks for all
    collate = peers.collator(work, tokenizer)
    loader = torch.utils.data.DataLoader(held_out, batch_size=32, collate_fn=collate)  # type: ignore[arg-type]
    model.eval()
    right, total, loss, tags = 0, 0, 0.0, ([], [])
    with torch.inference_mode():
        for batch in loader:
            batch = {key: value.to(model.device) for key, value in batch.items()}  # noqa: PLW2901
            found, labels = model(**batch), batch["labels"]
            scored = labels[:, 1:] if work.task == "text-generation" else labels  # nothing foretells a first token
            n = int((scored != -100).sum())
            loss, total = loss + float(found.loss) * n, total + n
            answers = found.logits.argmax(-1)
            right += int((answers == labels).sum())
            if work.task == "token-classification":
                for answer, label in zip(answers, labels, strict=True):
                    kept = label != -100
                    tags[0].append([rows.names[i] for i in label[kept]])
                    tags[1].append([rows.names[i] for i in answer[kept]])
    if work.task == "token-classification":
        from seqeval.metrics import f1_score

        return "entity_f1", float(f1_score(*tags))
    return ("accuracy", right / total) if work.task == "text-classification" else ("loss", loss / total)


if __name__ == "__main__":
    main()
