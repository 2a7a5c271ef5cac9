"""What a job is asked to do, as pure JSON.

Each field's explanation for users is
the catalogue's ``field.<name>``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from fm_notebook.contracts.adapters import LoraSpec, PromptTuningSpec
from fm_notebook.contracts.probe_specs import ProbeSpec
from fm_notebook.contracts.references import DataRef, ModelRef
from fm_notebook.contracts.values import (
    Column,
    Count,
    Device,
    Frozen,
    MetricName,
    NotNegative,
    Positive,
    RunName,
    Share,
    TaskName,
    TrackerName,
)

FORMAT_VERSION = 1
FEWEST_STEPS = 10
"""Of a learning-rate range test: on fewer points no rule says anything."""


class FinetuneSpec(Frozen):
    """One fine-tuning run. `model` and `train` suffice if the columns are called ``text`` and ``label``.

    `probe_every` names probes and the steps between two looks, or a dict of ``every``, ``items`` and a probe's own fields.

    Units: lengths in tokens, ``*_every`` in optimiser steps (below 1: share of an epoch; None: once an epoch, or with each
    evaluation), ``batch_size`` in examples of one optimiser step over all processes.
    """

    kind: Literal["finetune"] = "finetune"
    format_version: Literal[1] = FORMAT_VERSION
    # data
    train: DataRef
    eval: DataRef | None = None
    eval_split: Share = 0.1
    text: Column = "text"
    text_pair: Column | None = None
    label: Column = "label"
    prompt: Column | None = None
    completion: Column | None = None
    messages: Column | None = None
    problem: Literal["auto", "single-label", "multi-label", "regression"] = "auto"
    max_length: Annotated[int, Field(ge=4, strict=True)] = 256
    # model
    model: ModelRef
    tokenizer: ModelRef | None = None
    base: RunName | None = None
    task: TaskName = "text-classification"
    dropout: Annotated[float, Field(ge=0, lt=1, strict=True)] | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    mask_probability: Share = 0.15
    whole_words: bool = False
    next_sentence: bool = False
    completion_only_loss: bool = False
    # adapter
    lora: LoraSpec | None = None
    prompt_tuning: PromptTuningSpec | None = None
    freeze: Literal["backbone"] | None = None
    # plug-ins by name, in their order, with their fields
    mitigation: dict[str, dict[str, JsonValue]] | None = None
    probe_every: dict[str, Count | dict[str, JsonValue]] | None = None
    # training
    epochs: Positive = 3.0
    max_steps: Count | None = None
    learning_rate: Positive = 5e-5
    batch_size: Count = 32
    micro_batch_size: Count | None = None
    weight_decay: NotNegative = 0.01
    class_weight: Literal["balanced"] | dict[str, Positive] | None = None
    warmup_steps: NotNegative = 0.1
    lr_schedule: Literal["linear", "cosine", "constant"] = "linear"
    max_grad_norm: Positive | None = 1.0
    batching: Literal["random", "length-grouped"] = "random"
    packing: Literal["auto", "off"] = "auto"
    kernels: Literal["auto", "torch", "off"] = "auto"
    gradient_checkpointing: bool = False
    fsdp: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: Device = "auto"
    # evaluation and checkpoints
    eval_every: Positive | None = None
    save_every: Positive | None = None
    keep_checkpoints: Count = 2
    early_stopping: Count | None = None
    metric: MetricName | None = None
    # outside, no part of what a run is
    trackers: tuple[TrackerName, ...] = ()


class EvaluateSpec(Frozen):
    """Score a model on labelled rows. `model` is a run's result or any model; `run` the run's folder name, if it is one."""

    kind: Literal["evaluate"] = "evaluate"
    format_version: Literal[1] = FORMAT_VERSION
    model: ModelRef
    tokenizer: ModelRef | None = None
    run: RunName | None = None
    task: TaskName = "text-classification"
    data: DataRef
    text: Column = "text"
    text_pair: Column | None = None
    label: Column = "label"
    prompt: Column | None = None
    completion: Column | None = None
    messages: Column | None = None
    problem: Literal["auto", "single-label", "multi-label", "regression"] = "auto"
    max_length: Annotated[int, Field(ge=4, strict=True)] = 256
    completion_only_loss: bool = False
    template: str = "{text}\nLabel: {label}"
    shots: tuple[tuple[str, str], ...] = ()
    label_words: dict[str, str] | None = None
    score: Literal["sum", "mean", "pmi"] = "sum"
    by: tuple[Column, ...] = ()
    positive: str | None = None
    min_n: Count = 30
    batch_size: Count = 64
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    packing: Literal["auto", "off"] = "auto"
    device: Device = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False


class PredictSpec(Frozen):
    """What the model says of unlabelled rows, those of the job folder's ``data/eval.arrow``: see the task's ``predictions``."""

    kind: Literal["predict"] = "predict"
    format_version: Literal[1] = FORMAT_VERSION
    model: ModelRef
    run: str | None = None
    task: TaskName = "text-classification"
    problem: Literal["auto", "single-label", "multi-label", "regression"] = "auto"
    max_length: Annotated[int, Field(ge=4, strict=True)] = 256
    max_new_tokens: Count = 64
    temperature: NotNegative = 0.0
    template: str = "{text}\nLabel: {label}"
    shots: tuple[tuple[str, str], ...] = ()
    label_words: dict[str, str] | None = None
    score: Literal["sum", "mean", "pmi"] = "sum"
    batch_size: Count = 64
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    packing: Literal["auto", "off"] = "auto"
    device: Device = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False


class ExplainSpec(Frozen):
    """Say which parts of `text` drove the model's answer to it.

    `label` is the one to explain, None the predicted one. `target` is for answers about a part of the text, tags and next tokens:
    a piece's number or its characters. With `text_pair` a language model's `text` is the prompt and `text_pair` what follows.
    `methods` may be empty: then only the answer is given.
    """

    kind: Literal["explain"] = "explain"
    format_version: Literal[1] = FORMAT_VERSION
    model: ModelRef
    tokenizer: ModelRef | None = None
    run: RunName | None = None
    task: TaskName = "text-classification"
    text: Annotated[str, Field(min_length=1)]
    text_pair: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    target: int | str | None = None
    methods: tuple[Literal["integrated-gradients", "occlusion"], ...] = ("integrated-gradients", "occlusion")
    unit: Literal["token", "word"] = "token"
    baseline: Literal["auto", "mask", "pad", "zero"] = "auto"
    steps: Count | None = None
    problem: Literal["auto", "single-label", "multi-label", "regression"] = "auto"
    max_length: Annotated[int, Field(ge=4, strict=True)] = 256
    template: str = "{text}\nLabel: {label}"
    shots: tuple[tuple[str, str], ...] = ()
    label_words: dict[str, str] | None = None
    score: Literal["sum", "mean", "pmi"] = "sum"
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    precision: Literal["fp32"] = "fp32"
    device: Device = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False


class EmbedSpec(Frozen):
    """A vector for each row: the model's last hidden state, averaged over the tokens, in fp32.

    The rows are those of the job folder's ``data/eval.arrow``; the vectors, of unit length, are written to ``embeddings.npy``.
    """

    kind: Literal["embed"] = "embed"
    format_version: Literal[1] = FORMAT_VERSION
    model: ModelRef
    tokenizer: ModelRef | None = None
    run: RunName | None = None
    task: TaskName = "text-classification"
    problem: Literal["auto", "single-label", "multi-label", "regression"] = "auto"
    data: DataRef
    max_length: Annotated[int, Field(ge=4, strict=True)] = 256
    batch_size: Count = 64
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    packing: Literal["auto", "off"] = "auto"
    device: Device = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False


class DryRunSpec(Frozen):
    """Say what `run` would take: memory, time, disk. A few steps are measured, and nothing is kept of them."""

    kind: Literal["dry-run"] = "dry-run"
    format_version: Literal[1] = FORMAT_VERSION
    run: FinetuneSpec

    @property
    def model(self) -> ModelRef:
        """That of the run."""
        return self.run.model

    @property
    def device(self) -> str:
        """That of the run."""
        return self.run.device


class FindLearningRateSpec(Frozen):
    """Train `run` for `steps` steps while its learning rate grows from `lowest` to `highest`; nothing is kept of the model."""

    kind: Literal["find-lr"] = "find-lr"
    format_version: Literal[1] = FORMAT_VERSION
    run: FinetuneSpec
    lowest: Positive = 1e-7
    highest: Positive = 1.0
    steps: Annotated[int, Field(ge=FEWEST_STEPS, strict=True)] = 100

    @property
    def model(self) -> ModelRef:
        """That of the run."""
        return self.run.model

    @property
    def device(self) -> str:
        """That of the run."""
        return self.run.device


TrialSpec = DryRunSpec | FindLearningRateSpec
"""What is tried of a run without doing it."""


Spec = FinetuneSpec | EvaluateSpec | PredictSpec | EmbedSpec | ExplainSpec | ProbeSpec | TrialSpec
_LATE = ConfigDict(defer_build=True)  # until first used: a notebook loads fast
_ADAPTER: TypeAdapter[Spec] = TypeAdapter(Annotated[Spec, Field(discriminator="kind")], config=_LATE)


def read_spec(json: str | bytes) -> Spec:
    """The spec that `json` (the text of a ``spec.json``) holds."""
    return _ADAPTER.validate_json(json)
