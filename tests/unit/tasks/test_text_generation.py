"""Causal language modelling: targets, scores and continuations, against transformers and by hand."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BertTokenizerFast,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from fm_notebook.contracts.adapters import LoraSpec
from fm_notebook.contracts.events import StepEnded
from fm_notebook.contracts.protocols import IGNORED, Generates, Outputs
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef, PredictSpec
from fm_notebook.engine import chat, evaluation, families, generation
from fm_notebook.engine.adapters import adapt
from fm_notebook.engine.batching import Budget
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import switch
from fm_notebook.engine.likelihood import losses, ranks
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.models import ModelSource
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.plans import EpochPlan
from fm_notebook.engine.step import weighted_loss
from fm_notebook.errors import DataError, JobFailed, ModelError
from fm_notebook.tasks.text_generation import TextGeneration, task

TEXTS = ["the cat sat on the mat", "a dog", "the dog sat on the log and the cat sat on the dog", "猫 sat", "on the mat"]
REF = ModelRef(source="tiny", kind="folder", location="nowhere")
EOS = 2
CHATML = (
    "{% if messages and messages[0].role != 'system' %}<|s|>system\nbe kind<|e|>\n{% endif %}"
    "{% for m in messages %}<|s|>{{ m.role }}\n{{ m.content }}<|e|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|s|>assistant\n{% endif %}"
)
# marks what everyone says: the template's word counts
MARKED = "{% for m in messages %}{{ m.role }}: {% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}"
TALK = [
    {"role": "user", "content": "the cat"},
    {"role": "assistant", "content": "sat on"},
    {"role": "user", "content": "the dog"},
    {"role": "assistant", "content": "the mat"},
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def make_tokenizer(*, bos: bool = False) -> PreTrainedTokenizerFast:
    """Byte-pair encoding as GPT-2's; with `bos` it puts ``<s>`` before a text, as Llama's."""
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<|s|>", "<|e|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokens.train_from_iterator(TEXTS * 5, trainer)
    if bos:
        tokens.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=64,
        additional_special_tokens=["<|s|>", "<|e|>"],
    )  # fmt: skip


@pytest.fixture
def tokenizer():
    return make_tokenizer()


WORDS = {"vocab_size": 336, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": EOS}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
FAMILIES = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(**WORDS, n_embd=32, n_layer=2, n_head=2, n_positions=64, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**WORDS, **SIZES, max_position_embeddings=64)),
}


def make_model(family="llama"):
    torch.manual_seed(1)
    return FAMILIES[family]().eval()


def encode(tokenizer, columns, *, only=False, max_length=200):
    n = len(next(iter(columns.values())))
    rows = pa.table({**columns, "row": list(range(10, 10 + n))})
    return TextGeneration(completion_only_loss=only).encode(rows, tokenizer, [], max_length=max_length)


def learnt(tokenizer, examples, i):
    """The words that have targets in row `i`."""
    targets = examples.batch(np.array([i])).targets
    return tokenizer.decode(targets[targets != IGNORED])


def score(model, examples, layout="padded"):
    made = evaluation.outputs(
        model, task, examples, Forward("fp32", layout), Budget(3, 10**6), command=lambda: "run", until=frozenset()
    )
    while True:
        try:
            next(made)
        except StopIteration as end:
            return end.value


def drained(generator):
    try:
        while True:
            next(generator)
    except StopIteration as end:
        return end.value


# --- targets -----------------------------------------------------------------------------------------------------------


def test_a_text_ends_in_eos_and_foretells_each_token_but_its_first(tokenizer):
    batch = encode(tokenizer, {"text": TEXTS[:2]}).batch(np.array([0, 1]))
    ids = [[*tokenizer(text)["input_ids"], EOS] for text in TEXTS[:2]]
    assert batch.ids.tolist() == ids[0] + ids[1]
    assert batch.targets.tolist() == [*ids[0][1:], IGNORED, *ids[1][1:], IGNORED]
    assert batch.rows.tolist() == [10, 11]


def test_eos_is_not_put_twice_and_bos_is_as_the_tokenizer_puts_it():
    with_bos = make_tokenizer(bos=True)
    batch = encode(with_bos, {"text": ["a dog</s>", "a dog"]}).batch(np.array([0, 1]))
    once = [1, *make_tokenizer()("a dog")["input_ids"], EOS]
    assert batch.ids.tolist() == once + once


def test_a_tokenizer_that_frames_a_text_keeps_its_frame():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
    framing = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=16)
    assert encode(framing, {"text": ["a b"]}).tokens.ids.tolist() == [2, 5, 6, 3]
    assert encode(framing, {"prompt": ["a"], "completion": ["b"]}).tokens.ids.tolist() == [2, 5, 6, 3]


def test_long_texts_are_cut_and_counted(tokenizer):
    examples = encode(tokenizer, {"text": TEXTS}, max_length=4)
    assert examples.tokens.lengths.max() == 4
    assert examples.tokens.truncated == sum(len(tokenizer(text)["input_ids"]) + 1 > 4 for text in TEXTS)
    assert examples.tokens.ids[:4].tolist() == tokenizer(TEXTS[0])["input_ids"][:4]


def test_a_text_without_tokens_has_no_target(tokenizer):
    tokenizer.eos_token = None
    examples = encode(tokenizer, {"text": ["", "the cat"]})
    assert examples.batch(np.arange(2)).counts.tolist() == [0, 1]


def test_completions_alone_are_learnt_only_if_asked(tokenizer):
    columns = {"prompt": ["the cat", "a"], "completion": [" sat on", " dog"]}
    only, whole = (encode(tokenizer, columns, only=only) for only in (True, False))
    assert only.tokens.ids.tolist() == whole.tokens.ids.tolist()
    assert [learnt(tokenizer, only, i) for i in (0, 1)] == [" sat on</s>", " dog</s>"]
    # trl's collator: labels are the ids, -100 where the completion mask is 0; the model shifts them
    ids, prompt = tokenizer("the cat sat on")["input_ids"] + [EOS], len(tokenizer("the cat")["input_ids"])
    labels = [-100] * prompt + ids[prompt:]
    assert only.batch(np.array([0])).targets.tolist() == [*labels[1:], IGNORED]
    assert only.batch(np.array([0])).total == len(ids) - prompt


def test_a_token_across_the_border_is_split_there(tokenizer):
    prompt, completion = "the c", "at sat"
    assert len(tokenizer(prompt + completion)["input_ids"]) < sum(
        len(tokenizer(each)["input_ids"]) for each in (prompt, completion)
    )
    examples = encode(tokenizer, {"prompt": [prompt, "a"], "completion": [completion, " dog"]}, only=True)
    alone = tokenizer(prompt)["input_ids"]
    assert examples.tokens.ids[: len(alone)].tolist() == alone  # as generating sees it
    assert [learnt(tokenizer, examples, i) for i in (0, 1)] == ["at sat</s>", " dog</s>"]


@pytest.mark.parametrize(
    ("template", "turns"),
    [(CHATML, "sat on<|e|>the mat<|e|>"), (MARKED, " the cat sat on the dog the mat")],
    ids=["found", "marked"],
)
def test_of_a_conversation_the_assistants_turns_are_learnt(tokenizer, template, turns):
    tokenizer.chat_template = template
    examples = encode(tokenizer, {"messages": [json.dumps(TALK)]}, only=True)
    whole = tokenizer.apply_chat_template(TALK, tokenize=False)
    assert tokenizer.decode(examples.tokens.ids) == whole
    assert learnt(tokenizer, examples, 0) == turns
    everything = encode(tokenizer, {"messages": [json.dumps(TALK)]})
    assert everything.batch(np.array([0])).counts.tolist() == [len(examples.tokens.ids) - 1]


def test_marked_and_found_turns_agree(tokenizer):
    """The same template with and without transformers' own marks."""
    found = []
    for mark in ("{m}", "{{% generation %}}{m}{{% endgeneration %}}"):
        body = mark.format(m="{{ m.content }}<|e|>")
        tokenizer.chat_template = (
            "{% for m in messages %}<|s|>{{ m.role }}\n{% if m.role == 'assistant' %}" + body + "{% else %}{{ m.content }}<|e|>"
            "{% endif %}\n{% endfor %}{% if add_generation_prompt %}<|s|>assistant\n{% endif %}"
        )
        found.append(encode(tokenizer, {"messages": [json.dumps(TALK)] * 2}, only=True).batch(np.array([1])))
    assert found[0].ids.tolist() == found[1].ids.tolist()
    assert found[0].targets.tolist() == found[1].targets.tolist()


def test_without_a_template_a_plain_one_is_taken_and_kept(tokenizer):
    examples = encode(tokenizer, {"messages": [json.dumps(TALK)]}, only=True)
    assert tokenizer.decode(examples.tokens.ids).startswith("User: the cat\nAssistant: sat on</s>\nUser: the dog\n")
    assert learnt(tokenizer, examples, 0) == " sat on</s> the mat</s>"
    assert tokenizer.chat_template == chat.PLAIN
    with_bos = make_tokenizer(bos=True)
    assert encode(with_bos, {"messages": [json.dumps(TALK)]}).tokens.ids[0] == 1


def test_a_template_that_rewrites_earlier_turns_is_refused_in_words(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ loop.revindex }} {{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(ModelError, match="message 1"):
        encode(tokenizer, {"messages": [json.dumps(TALK)]}, only=True)
    assert len(encode(tokenizer, {"messages": [json.dumps(TALK)]}))  # all of it can be learnt


def test_nothing_to_learn_is_said_in_words(tokenizer):
    with pytest.raises(DataError, match="plain texts"):
        encode(tokenizer, {"text": TEXTS}, only=True)
    with pytest.raises(DataError, match="max_length"):
        encode(tokenizer, {"prompt": [TEXTS[2]], "completion": [" dog"]}, only=True, max_length=4)


# --- losses and scores -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_transformers(tokenizer, family, layout):
    model, examples = make_model(family), encode(tokenizer, {"text": TEXTS})
    padded = tokenizer([f"{text}</s>" for text in TEXTS], padding=True, return_tensors="pt")
    labels = padded["input_ids"].masked_fill(padded["attention_mask"] == 0, -100)
    with torch.no_grad():
        expected = model(**padded, labels=labels).loss
        if layout == "packed":
            families.enable(model)
        found = weighted_loss(model, task, examples.batch(np.arange(len(TEXTS))), Forward("fp32", layout))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_ranks_put_the_smaller_of_equals_first():
    logits = torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0], [5.0, 5.0, 1.0]])
    assert ranks(logits, torch.tensor([0, 2, 0])).tolist() == [2, 2, 0]
    assert losses(logits, torch.tensor([0, 2, 0]))[1].item() == pytest.approx(np.log(3))


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_scores_are_those_of_one_text_at_a_time(tokenizer, layout):
    model, examples = make_model(), encode(tokenizer, {"text": TEXTS})
    logps, hits = [], []
    with torch.no_grad():
        for text in TEXTS:
            ids = torch.tensor([[*tokenizer(text)["input_ids"], EOS]])
            logits = model(input_ids=ids).logits[0, :-1]
            logps.append(logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].numpy())
            hits.append((logits.argmax(-1) == ids[0, 1:]).numpy())
    if layout == "packed":
        families.enable(model)
    outputs = score(model, examples, layout)
    report = task.report(outputs, [], seed=0)
    assert report["loss"].value == pytest.approx(-np.concatenate(logps).mean(), rel=1e-5)
    assert report["perplexity"].value == pytest.approx(np.exp(-np.concatenate(logps).mean()), rel=1e-5)
    assert report["top1_accuracy"].value == pytest.approx(np.concatenate(hits).mean())
    assert report.text_perplexities == pytest.approx([np.exp(-each.mean()) for each in logps], rel=1e-4)
    rows = task.predictions(outputs, pa.table({"row": list(range(5))}), []).to_pydict()
    assert rows["tokens"] == [len(each) for each in logps]
    assert rows["loss"] == pytest.approx([-each.mean() for each in logps], rel=1e-4)


def test_a_row_without_targets_has_no_perplexity():
    outputs = Outputs({"loss": np.array([1.0, 2.0]), "rank": np.array([0, 1])}, np.array([5, 6]), np.array([2, 0]))
    found = task.predictions(outputs, pa.table({"row": [0, 1]}), []).to_pydict()
    assert found["perplexity"] == [pytest.approx(np.exp(1.5)), None]


# --- training ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "lora"), [("gpt2", False), ("llama", False), ("llama", True)])
def test_the_loss_falls(tmp_path, tokenizer, family, lora):
    model, held_out = make_model(family), encode(tokenizer, {"text": TEXTS[:3]})
    if lora:
        model = adapt(model, LoraSpec(rank=8))
    families.enable(model)
    spec = FinetuneSpec(
        model=REF, train=DataRef(source="rows", kind="value"), task="text-generation", epochs=12.0, batch_size=2,
        learning_rate=3e-2 if lora else 1e-2, warmup_steps=0, eval_every=1000,
    )  # fmt: skip
    parts = Parts(
        spec=spec, task=task, model=model, tokenizer=tokenizer, train=encode(tokenizer, {"text": TEXTS}), held_out=held_out,
        labels=[], precision="fp32", layout="packed", checkpoints=tmp_path / "checkpoints", result=tmp_path / "model",
    )  # fmt: skip
    before = task.report(score(model, held_out, "packed"), [], seed=0)
    *_, ended = finetune(parts)
    assert ended.result.metric == "perplexity"
    assert ended.result.metrics["loss"] < before["loss"].value - (0.2 if lora else 0.5)


@pytest.mark.filterwarnings("ignore")
def test_losses_and_gradients_of_lora_are_those_of_trainer(tmp_path, tokenizer):
    from transformers import Trainer, TrainingArguments

    texts = [f"{text} {word}" for text in TEXTS for word in ("sat", "the dog", "on a mat")]
    examples, spec = encode(tokenizer, {"text": texts}), LoraSpec(rank=4)
    plan = EpochPlan(len(texts), 4, seed=3)
    shown = [plan.rows(step).tolist() for step in range(12)]

    class SameBatches(Trainer):
        def get_train_dataloader(self):
            return torch.utils.data.DataLoader([self.data_collator([texts[i] for i in rows]) for rows in shown], batch_size=None)

    def collate(some):
        padded = tokenizer([f"{text}</s>" for text in some], padding=True, return_tensors="pt")
        return {**padded, "labels": padded["input_ids"].masked_fill(padded["attention_mask"] == 0, IGNORED)}

    arguments = TrainingArguments(
        output_dir=str(tmp_path / "hf"), max_steps=12, learning_rate=2e-2, weight_decay=0.1, max_grad_norm=0.1, logging_steps=1,
        save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    theirs = SameBatches(adapt(make_model(), spec), arguments, train_dataset=texts, data_collator=collate)
    theirs.train()
    expected = [entry for entry in theirs.state.log_history if "loss" in entry]

    model = adapt(make_model(), spec)
    families.enable(model)
    switch.enable(model, seed=3)
    parts = Parts(
        spec=FinetuneSpec(
            model=REF, train=DataRef(source="rows", kind="value"), task="text-generation", max_steps=12, batch_size=4, seed=3,
            learning_rate=2e-2, weight_decay=0.1, max_grad_norm=0.1, warmup_steps=0, eval_every=1000,
        ),
        task=task, model=model, tokenizer=tokenizer, train=examples, held_out=examples, labels=[], precision="fp32",
        layout="packed", checkpoints=tmp_path / "checkpoints", result=tmp_path / "model",
    )  # fmt: skip
    found = [event for event in finetune(parts) if isinstance(event, StepEnded)]
    assert len(found) == len(expected) == 12
    assert found[-1].loss < found[0].loss - 0.05
    assert [each.loss for each in found] == pytest.approx([each["loss"] for each in expected], abs=1e-5)
    assert [each.grad_norm for each in found] == pytest.approx([each["grad_norm"] for each in expected], rel=1e-4)


# --- generating --------------------------------------------------------------------------------------------------------


def generate(model, tokenizer, columns, batch_size=2, **settings):
    made = TextGeneration(max_new_tokens=6, **settings)
    prompts = made.prompts(pa.table(columns), tokenizer, max_length=32)
    return drained(made.generate(model, tokenizer, prompts, batch_size=batch_size, precision="fp32", command=lambda: "run"))


def test_the_task_generates(tokenizer):
    assert isinstance(task, Generates)
    spec = PredictSpec(model=REF, task="text-generation", max_new_tokens=3, temperature=0.5, seed=4)
    configured = task.configure(spec)
    assert (configured.max_new_tokens, configured.temperature, configured.seed) == (3, 0.5, 4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("enabled", [False, True])
def test_continuations_are_those_of_one_prompt_at_a_time(tokenizer, family, enabled):
    model = make_model(family)
    expected = []
    with torch.no_grad():
        for text in TEXTS:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            new = []
            for _ in range(6):  # the likeliest token, again and again, without a cache
                token = model(input_ids=ids).logits[0, -1].argmax()
                if token == EOS:
                    break
                new.append(token.item())
                ids = torch.cat([ids, token.view(1, 1)], 1)
            expected.append(tokenizer.decode(new, skip_special_tokens=True))
    if enabled:
        families.enable(model)
    model.train()
    found = generate(model, tokenizer, {"text": TEXTS})
    assert found["text"].to_pylist() == expected
    assert families.is_enabled(model) is enabled
    assert model.training


def test_draws_depend_on_the_seed_and_leave_the_generators(tokenizer):
    model, state = make_model(), torch.get_rng_state()
    first, again, other = (generate(model, tokenizer, {"text": TEXTS}, temperature=1.0, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_prompts_have_no_end_and_are_cut_on_the_left():
    with_bos = make_tokenizer(bos=True)
    prompts = task.prompts(pa.table({"text": TEXTS[2:3]}), with_bos, max_length=4)
    assert prompts.ids.tolist() == [1, *with_bos(TEXTS[2], add_special_tokens=False)["input_ids"][-3:]]
    assert prompts.truncated == 1


def test_conversations_go_on_with_the_assistant(tokenizer):
    tokenizer.chat_template = CHATML
    prompts = task.prompts(pa.table({"messages": [json.dumps(TALK[:1])]}), tokenizer, max_length=64)
    assert tokenizer.decode(prompts.ids) == tokenizer.apply_chat_template(TALK[:1], tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode([chat.end_of_turn(tokenizer)]) == "<|e|>"


def test_a_continuation_ends_where_the_model_stops(tokenizer, monkeypatch):
    model, prompts = make_model(), task.prompts(pa.table({"text": ["a dog", "the"]}), tokenizer, max_length=8)
    made = torch.tensor([[0, 0, 0, 0, 40, EOS, 41], [0, 0, 0, 0, 40, 41, 4]])
    monkeypatch.setattr(
        model, "generate", lambda **_: torch.cat([torch.zeros(2, prompts.lengths.max(), dtype=int), made[:, 4:]], 1)
    )
    found = drained(generation.continuations(model, tokenizer, prompts, generation.Sampling(3), stops=[4], batch_size=2))
    assert found == [tokenizer.decode([40]), tokenizer.decode([40, 41])]


def test_out_of_memory_makes_the_batches_of_prompts_smaller(tokenizer, monkeypatch):
    model, real, sizes = make_model(), LlamaForCausalLM.generate, []
    expected = generate(model, tokenizer, {"text": TEXTS}, batch_size=5)

    def small_only(self, **inputs):
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError("no room")
        return real(self, **inputs)

    monkeypatch.setattr(LlamaForCausalLM, "generate", small_only)
    limit = 1
    assert generate(model, tokenizer, {"text": TEXTS}, batch_size=5) == expected
    assert sizes == [5, 2, 1, 1, 1, 1, 1]
    limit = 0
    with pytest.raises(JobFailed, match="one text at a time"):
        generate(model, tokenizer, {"text": TEXTS})


def test_a_command_ends_it(tokenizer):
    prompts = task.prompts(pa.table({"text": TEXTS}), tokenizer, max_length=8)
    made = task.generate(make_model(), tokenizer, prompts, batch_size=2, precision="fp32", command=lambda: "cancel")
    assert drained(made) is None


# --- loading -----------------------------------------------------------------------------------------------------------


def source(folder, **more):
    return ModelSource(ModelRef(source="m", kind="folder", location=str(folder), **more))


def test_weights_come_with_a_head_and_an_encoder_is_refused(tmp_path):
    make_model("gpt2").save_pretrained(tmp_path / "gpt2")
    assert task.has_head(source(tmp_path / "gpt2"))
    assert task.load_model(source(tmp_path / "gpt2"), None).fresh == ()
    BertLMHeadModel(BertConfig(**WORDS, **SIZES)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ModelError, match="fill-mask"):
        task.load_model(source(tmp_path / "bert"), None)
