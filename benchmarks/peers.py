"""The training loops that are set side by side. ``python peers.py NAME WORK`` is one of them, as a child of `blocks.interleave`.

All have the same rows, weights, effective batch, learning rate (linear to 0, no warm-up), weight decay 0 and clipping at 1.

=====================  ==================================================================================================
``ours``               this project, batches as drawn, in its worker's own code
``ours-grouped``       the same with ``batching = "length-grouped"``
``trainer``            `transformers.Trainer` as it comes: fp32, drawn batches, padded to the longest
``trainer-tuned``      the same with bf16 where that multiplies faster, and length grouping as 5.x offers it; on a GPU also
                       without the filter that waits for every loss (processes that collate made it slower there)
``tutorial``           the loop of many tutorials: padded to the full length, fp32, AdamW as it comes, ``loss.item()`` each step
``sentence-transformers``  its Trainer with mean pooling and a linear head on top (text classification only)
=====================  ==================================================================================================
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import workload
from blocks import Over, Turns, settle
from workload import Rows, Work

settle()

OURS = {"ours": {}, "ours-grouped": {"batching": "length-grouped"}, "ours-padded": {"packing": "off", "kernels": "off"}}
LORA_TARGETS = ("q_proj", "v_proj")
Loop = Callable[[Work, Turns], Any]


def ours(work: Work, turns: Turns, **fields: Any) -> None:
    """By the worker's own code, from the spec on; the only place here that knows how a run of ours is made."""
    for event in events_of_ours(work, **fields):
        if event.type == "Started":
            turns.ready()
        elif event.type == "StepEnded":
            turns.step(event.examples, event.tokens)


def events_of_ours(work: Work, **fields: Any) -> Iterator[Any]:
    home = Path(work.folder) / f"ours-{os.getpid()}"
    os.environ |= {"FM_NOTEBOOK_RUNS": str(home / "runs"), "FM_NOTEBOOK_STATE": str(home / "state"), "FM_NOTEBOOK_WARM": "0"}
    from fm_notebook import verbs
    from fm_notebook.session.binding import Assigned
    from fm_notebook.worker import training

    never = 10.0**9
    given = {
        "model": str(work.model), **our_rows(work), "task": work.task, "batch_size": work.batch, "max_length": work.length,
        "learning_rate": work.learning_rate, "epochs": work.epochs, "seed": work.seed, "weight_decay": 0.0, "warmup_steps": 0.0,
        "eval_every": never, "save_every": never, **({"lora": {"rank": 8, "targets": LORA_TARGETS}} if work.lora else {}),
        **fields,
    }  # fmt: skip
    job = verbs.prepare_finetune("ours", {name: Assigned(value) for name, value in given.items()}).job
    yield from training.finetune(job.jobfolder, job.jobfolder.spec, lambda: "run")  # type: ignore[arg-type]


def our_rows(work: Work) -> dict[str, Any]:
    """The fields that name rows and columns."""
    import pandas as pd

    rows, files = workload.read(work), work.files
    columns = [files.text, files.label]
    frames = {"train": pd.DataFrame(rows.train, columns=columns), "eval": pd.DataFrame(rows.held_out, columns=columns)}
    labelled = {"label": files.label} if "classification" in work.task else {}
    return {**frames, "text": files.text, **labelled}


def trainer(work: Work, turns: Turns, **tuned: Any) -> Any:
    """`transformers.Trainer` with the defaults of 5.x but for what `tuned` says."""
    from transformers import Trainer, TrainingArguments

    class Counted(Trainer):
        """Reports each step with its real tokens."""

        def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            self.seen = len(inputs["input_ids"]), inputs["attention_mask"].sum()  # on a GPU nobody waits for it
            return super().training_step(model, inputs, *rest, **named)

    model, rows, tokenizer = load(work)
    arguments = TrainingArguments(**settings(work), **tuned)
    train = workload.tokenized(work, rows.train, rows.names, tokenizer)
    it = Counted(model, arguments, train_dataset=train, data_collator=collator(work, tokenizer))  # type: ignore[arg-type]
    it.add_callback(_at_each_step(lambda: turns.step(*it.seen)))
    turns.ready()
    it.train()
    return model


def settings(work: Work) -> dict[str, Any]:
    """What makes a Trainer do this work, and be quiet; all else is as it comes."""
    import torch

    return {
        "output_dir": f"{work.folder}/trainer", "per_device_train_batch_size": work.batch, "learning_rate": work.learning_rate,
        "num_train_epochs": work.epochs, "seed": work.seed, "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no", "report_to": [], "disable_tqdm": True,
    }  # fmt: skip


def trainer_tuned(work: Work, turns: Turns) -> Any:
    import torch

    on_gpu = {"logging_nan_inf_filter": False} if torch.cuda.is_available() else {}  # it makes the host wait for every step
    return trainer(work, turns, bf16=work.bf16, train_sampling_strategy="group_by_length", **on_gpu)


def _at_each_step(call: Callable[[], None]) -> Any:
    from transformers import TrainerCallback

    class AtEachStep(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            call()

    return AtEachStep()


def tutorial(work: Work, turns: Turns) -> Any:
    """As in many a tutorial; only the length to pad to is the work's, where tutorials often take the model's 512."""
    import torch
    from transformers import get_scheduler

    model, rows, tokenizer = load(work)
    collate = collator(work, tokenizer, padding="max_length", max_length=work.length)
    train = workload.tokenized(work, rows.train, rows.names, tokenizer)
    loader = torch.utils.data.DataLoader(train, shuffle=True, batch_size=work.batch, collate_fn=collate)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=work.learning_rate)
    steps = int(work.epochs * len(loader))
    schedule = get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=steps)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    turns.ready()
    total = 0.0
    for batch in (batch for _ in range(-(-steps // len(loader))) for batch in loader):
        seen = len(batch["input_ids"]), int(batch["attention_mask"].sum())
        batch = {name: value.to(device) for name, value in batch.items()}  # noqa: PLW2901
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total += loss.item()
        turns.step(*seen)
    return model


def sentence_transformers(work: Work, turns: Turns) -> None:
    """Its own loop, which is a Trainer's, around its own modules: tokenised anew in each step."""
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        models,
    )

    rows = workload.read(work)
    words = models.Transformer(str(work.model), max_seq_length=work.length)
    encoder = SentenceTransformer(modules=[words, models.Pooling(words.get_embedding_dimension())])
    seen = [0, 0]

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.linear = encoder, torch.nn.Linear(words.get_embedding_dimension(), len(rows.names))

        def forward(self, features: Any, labels: Any) -> Any:
            (batch,) = features
            seen[:] = len(batch["input_ids"]), int(batch["attention_mask"].sum())
            return torch.nn.functional.cross_entropy(self.linear(self.encoder(batch)["sentence_embedding"]), labels.view(-1))

    data = Dataset.from_dict({"text": [t for t, _ in rows.train], "label": [rows.names.index(name) for _, name in rows.train]})
    arguments = SentenceTransformerTrainingArguments(**settings(work), bf16=work.bf16)
    it = SentenceTransformerTrainer(encoder, arguments, train_dataset=data, loss=Head())
    it.add_callback(_at_each_step(lambda: turns.step(*seen)))
    turns.ready()
    it.train()


def load(work: Work) -> tuple[Any, Rows, Any]:
    """The weights to begin with (and LoRA's if asked for), rows and tokenizer."""
    import torch
    import transformers

    kind = getattr(transformers, workload.HEADS[work.task])
    model = kind.from_pretrained(work.model, dtype=torch.float32)
    if work.lora:
        import peft

        settings = peft.LoraConfig(r=8, lora_alpha=16, target_modules=list(LORA_TARGETS), task_type="CAUSAL_LM")
        torch.manual_seed(work.seed)  # the same adapters to begin with as ours
        model = peft.get_peft_model(model, settings)
    return model, workload.read(work), transformers.AutoTokenizer.from_pretrained(work.model)


def collator(work: Work, tokenizer: Any, **padding: Any) -> Any:
    """What `transformers` offers for the task."""
    import transformers as t

    if work.task == "text-classification":
        return t.DataCollatorWithPadding(tokenizer, **padding)
    if work.task == "fill-mask":
        return t.DataCollatorForLanguageModeling(tokenizer)
    # Not the former for text-generation: where EOS is also what pads, it leaves out the labels of both.
    return t.DataCollatorForTokenClassification(tokenizer, **padding)


LOOPS: dict[str, Loop] = {
    **{name: lambda work, turns, fields=fields: ours(work, turns, **fields) for name, fields in OURS.items()},
    "trainer": trainer,
    "trainer-tuned": trainer_tuned,
    "tutorial": tutorial,
    "sentence-transformers": sentence_transformers,
}


def main() -> None:
    work, turns = workload.load_work(sys.argv[2]), Turns(workload.load_work(sys.argv[2]).block)
    with suppress(Over):
        LOOPS[sys.argv[1]](work, turns)


if __name__ == "__main__":
    main()
