"""A run as a script on plain transformers, accelerate and datasets, that does it again without this package.

The scripts are the templates in ``scripts/``, one a task; what a run does not need is left out.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.contracts.adapters import LoraSpec
from fm_notebook.contracts.events import Ended, Event, MemoryShrunk, Noted, Started
from fm_notebook.contracts.specs import FinetuneSpec, ModelRef
from fm_notebook.errors import RunError
from fm_notebook.jobs import journal, placement
from fm_notebook.session import source
from fm_notebook.tasks import tasks

if TYPE_CHECKING:
    from fm_notebook.session.run import Run

LOADERS = {
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "fill-mask": "AutoModelForMaskedLM",
    "text-generation": "AutoModelForCausalLM",
}
_PROBLEMS = {"single-label": "single_label_classification", "multi-label": "multi_label_classification"}
_PEFT_TASKS = {"text-classification": "SEQ_CLS", "token-classification": "TOKEN_CLS", "text-generation": "CAUSAL_LM"}
_SEQEVAL: dict[str, str] = dict.fromkeys(("accuracy_score", "f1_score", "precision_score", "recall_score"), "seqeval.metrics")
_CHAT = (  # as in fm_notebook.engine.chat, which this side may not import; a test compares them
    "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}"
    "{{ eos_token if message.role == 'assistant' else '' }}\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def code(run: Run) -> str:
    """The script that does `run` again.

    Raises
    ------
    RunError
        If its task, or the model that it went on from, is none that plain transformers has.
    """
    spec = run.spec
    if spec.task not in LOADERS:
        raise RunError("code.task", name=run.name, task=spec.task, known=", ".join(LOADERS))
    if _is_prompt_alone(spec.model):
        raise RunError("code.prompt_alone", name=run.name, model=spec.model.source)
    return _Script(run).text()


class _Script:
    """What a run's spec, journal and folder say of its script."""

    def __init__(self, run: Run):
        self.run, self.spec, self.folder = run, run.spec, run.job.jobfolder
        self.events = journal.replay(self.folder.events)
        started = [event for event in self.events if isinstance(event, Started)]
        self.started = started[-1] if started else None
        self.adapter = _adapter(self.spec, self.folder.model)
        self.labels = list(run.data.labels) if self.spec.task.endswith("classification") else []

    def text(self) -> str:
        """The script."""
        values, origins = self.values(), dict(_SEQEVAL) if self.spec.task == "token-classification" else {}
        if path := self.spec.model.class_path:
            origins[values["loader"]] = path.partition(":")[0]
        values["constants"] = f"{self.about_rows()}\n{source.assignments(self.constants(values))}"
        points = [f"- {messages.text(f'code.note.{key}')}" for key in self.notes(values)]
        version = importlib.metadata.version("fm_notebook")
        head = [messages.text("code.title", name=self.run.name), messages.text("code.about", version=version)]
        return f"{source.docstring([*head, *points])}\n\n{source.render(_template(self.spec), values, origins=origins)}"

    def values(self) -> dict[str, Any]:
        """What the templates ask for."""
        spec, metrics = self.spec, tasks[self.spec.task].configure(self.spec).metrics
        metric, every = spec.metric or next(iter(metrics)), spec.eval_every
        head = _PROBLEMS.get(self.kind(), "regression") if spec.task == "text-classification" else None
        share = f"max(1, round({every!r} * steps_per_epoch))"
        return {
            "spec": spec, "kind": self.kind(), "labels": self.labels, "problem": head, "metric": metric,
            "better": {"max": ">", "min": "<"}[metrics[metric]], "cpu": self.device() == "cpu",
            "mixed_precision": {"fp32": "no"}.get(self.precision(), self.precision()),
            "loader": spec.model.class_path.partition(":")[2] or LOADERS[spec.task],
            "adapter": "PromptTuningConfig" if spec.prompt_tuning else "LoraConfig" if spec.lora else None,
            "learnt_besides": bool(spec.prompt_tuning) or self.is_fresh(),
            "options": ", **OPTIONS" if _options(spec.model, spec) else "", "tokenizer": self.tokenizer(),
            "eval_every": "steps_per_epoch" if every is None else share if every < 1 else str(int(every)),
        }  # fmt: skip

    def constants(self, values: dict[str, Any]) -> dict[str, Any]:
        """What a reader may want to change, in the order of the script."""
        spec, given = self.spec, {"DATA": self.folder.data, "MODEL": self.spec.model.location}
        weights = (
            [dict(spec.class_weight).get(label, 1.0) for label in self.labels] if isinstance(spec.class_weight, dict) else []
        )
        optional = {
            "OPTIONS": _options(spec.model, spec), "TOKENIZER": spec.tokenizer and spec.tokenizer.location,
            "TOKENIZER_OPTIONS": _options(spec.tokenizer, spec),
            "LABELS": self.labels, "CLASS_WEIGHT": weights, "ADAPTER": self.adapter,
            "TEMPLATE": _CHAT if values["kind"] == "chat" else None,
        }  # fmt: skip
        given |= {name: value for name, value in optional.items() if value}
        given |= {"OUTPUT": f"{self.run.name}-again", "SEED": spec.seed, "MAX_LENGTH": self.max_length()}
        given |= {"BATCH": spec.batch_size, "MICRO_BATCH": self.micro_batch()}
        given |= {"MAX_STEPS": spec.max_steps} if spec.max_steps else {"EPOCHS": spec.epochs}
        given |= {"LEARNING_RATE": spec.learning_rate, "WEIGHT_DECAY": spec.weight_decay}
        given["WARMUP"] = spec.warmup_steps if spec.warmup_steps < 1 else int(spec.warmup_steps)
        if spec.task == "fill-mask":
            given["MASK_PROBABILITY"] = spec.mask_probability
        rest = {"DROPOUT": spec.dropout, "MAX_GRAD_NORM": spec.max_grad_norm, "EARLY_STOPPING": spec.early_stopping}
        return given | {name: value for name, value in rest.items() if value is not None}

    def tokenizer(self) -> str:
        """How the tokenizer is named when it is loaded."""
        own = "TOKENIZER_" if self.spec.tokenizer else ""
        options = f", **{own}OPTIONS" if _options(self.spec.tokenizer or self.spec.model, self.spec) else ""
        return f"{'TOKENIZER' if own else 'MODEL'}{options}"

    def about_rows(self) -> str:
        """A comment on where the rows are."""
        keys = ["data" if self.folder.train_rows.exists() else "no_data", *(["labels"] if self.labels else [])]
        return source.comment(" ".join(messages.text(f"code.{key}") for key in keys))

    def notes(self, values: dict[str, Any]) -> list[str]:
        """Keys of what the run had and the script has not, or needs besides."""
        spec, ended = self.spec, [event for event in self.events if isinstance(event, Ended)]
        padded = spec.packing == "off" or any(isinstance(event, Noted) and event.key == "padded" for event in self.events)
        applies = {
            "packing": not padded, "dropout": spec.dropout != 0, "masks": spec.task == "fill-mask",
            "next_sentence": spec.next_sentence, "words": spec.task == "token-classification",
            "marked_turns": values["kind"] == "chat" and spec.completion_only_loss, "precision": self.precision() != "fp32",
            "features": bool(spec.freeze), "merged": bool(spec.lora), "prompt": bool(spec.prompt_tuning),
            "processes": placement.read(self.folder.path).processes > 1, "unstarted": self.started is None,
            "unfinished": bool(ended) and ended[-1].state != "finished", "mitigation": bool(spec.mitigation), "checkpoints": True,
        }  # fmt: skip
        return [key for key, holds in applies.items() if holds]

    def kind(self) -> str:
        """Problem of a classification; form of the rows that text is learnt from."""
        spec = self.spec
        if spec.task != "text-generation":
            return "single-label" if spec.problem == "auto" else spec.problem
        columns = _columns(self.folder.train_rows)
        if spec.messages or "messages" in columns:
            return "chat"
        return "completion" if spec.completion or "completion" in columns else "text"

    def device(self) -> str:
        """What the run computed on, or was asked to."""
        return self.started.device if self.started else self.spec.device

    def precision(self) -> str:
        """As `device`."""
        chosen = self.started.precision if self.started else self.spec.precision
        return "fp32" if chosen == "auto" else chosen

    def max_length(self) -> int:
        """Tokens at which texts were cut: what the model takes, where that is less than was asked for."""
        return _last(
            self.events, Noted, lambda e: e.values["limit"] if e.key == "max_length_lowered" else None, self.spec.max_length
        )

    def micro_batch(self) -> int:
        """Texts that go through the model at once, padded."""
        if self.spec.micro_batch_size:
            return min(self.spec.micro_batch_size, self.spec.batch_size)
        texts = _last(self.events, MemoryShrunk, lambda e: e.micro_batch_size, self.spec.batch_size)
        tokens = (2048 if self.device() == "cpu" else 16384) // (1 if self.labels else 4)  # words are many classes
        return max(1, min(texts, tokens // self.max_length()))

    def is_fresh(self) -> bool:
        """Whether a language model with an adapter has parameters that were drawn at random, which then learn along."""
        drawn = any(isinstance(event, Noted) and event.key == "fresh_head" for event in self.events)
        return bool(self.spec.lora) and not self.labels and drawn


def _template(spec: FinetuneSpec) -> str:
    return spec.task.replace("-", "_")


def _last(events: list[Event], kind: type, value: Any, otherwise: int) -> int:
    found = [value(event) for event in events if isinstance(event, kind)]
    return next((each for each in reversed(found) if each is not None), otherwise)


def _options(ref: ModelRef | None, spec: FinetuneSpec) -> dict[str, Any]:
    """What is said besides to load the model, or the tokenizer, in `ref`."""
    if ref is None:
        return {}
    revision = ref.revision if ref.kind == "hub" else ""
    given = {"revision": revision, "gguf_file": ref.file, "trust_remote_code": spec.trust_remote_code}
    return {name: value for name, value in given.items() if value}


def _adapter(spec: FinetuneSpec, model: Path) -> dict[str, Any]:
    """Arguments of peft's configuration: what the run found to fit its model, where that is written down, else what was asked."""
    written = model / "adapter" / "adapter_config.json"
    found = json.loads(written.read_bytes()) if written.is_file() else {}
    given: dict[str, Any] = {"task_type": _PEFT_TASKS[spec.task]} if spec.task in _PEFT_TASKS else {}
    if tuned := spec.prompt_tuning:
        return given | {"num_virtual_tokens": tuned.tokens} | ({"token_dim": found["token_dim"]} if found else {})
    if not isinstance(lora := spec.lora, LoraSpec):
        return {}
    given |= {"r": lora.rank, "lora_alpha": lora.scale * lora.rank}
    given |= {name: value for name, value in {"lora_dropout": lora.dropout, "use_dora": lora.dora}.items() if value}
    targets = found.get("target_modules") or lora.targets
    given |= {"target_modules": sorted(targets)} if targets else {}
    kept = {name: found[name] for name in ("modules_to_save", "fan_in_fan_out") if found.get(name)}
    return given | {name: sorted(value) if isinstance(value, list) else value for name, value in kept.items()}


def _columns(path: Path) -> list[str]:
    """Columns of an Arrow file; none where there is no file."""
    import pyarrow as pa

    if not path.exists():
        return []
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).schema.names


def _is_prompt_alone(model: ModelRef) -> bool:
    """Whether it is the result of prompt tuning, whose weights are elsewhere."""
    folder = Path(model.location)
    return (folder / "adapter" / "adapter_config.json").is_file() and not any(folder.glob("*.safetensors"))
