from typing import Any

import pytest
import torch
import transformers as tf
from torch.nn import functional as F  # noqa: N812

from fm_notebook.engine import families
from fm_notebook.engine.kernels import bert_layer, last_layer
from fm_notebook.engine.kernels.dropout import MaskPool


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def distance(found: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    """Relative, over all gradients."""
    assert found.keys() == right.keys()
    missed = sum(float((found[name] - right[name]).square().sum()) for name in right)
    return (missed / sum(float(value.square().sum()) for value in right.values())) ** 0.5


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every layer computed by hand."""
    found: list[int] = []
    apply = bert_layer.LayerFunction.apply
    monkeypatch.setattr(bert_layer.LayerFunction, "apply", lambda *args: (found.append(1), apply(*args))[1])
    return found


@pytest.mark.parametrize("read", [False, True])
def test_gradients_are_those_of_the_models_own_layers(tiny, read, monkeypatch):
    batches = [tiny.batch(0), tiny.batch(1)]  # the second adds to the first one's gradients
    plain, mine = tiny.model(), tiny.model()
    bert_layer.enable(mine)
    seen = calls(monkeypatch)
    for batch in batches:
        tiny.loss(plain, batch).backward()
        tiny.loss(mine, batch, read=read).backward()
    assert len(seen) == 4
    assert distance(gradients(mine), gradients(plain)) < 1e-5


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 2e-3)])
@pytest.mark.parametrize("micro", [1, 2])
def test_fifty_steps_have_the_losses_of_the_models_own_layers(tiny, precision, bound, micro):
    bert_layer.enable(mine := tiny.model())
    found, right = (tiny.train(model, precision=precision, micro=micro) for model in (mine, tiny.model()))
    assert found == pytest.approx(right, abs=bound)
    assert right[-1] < right[0] - 0.02  # there was something to learn


def test_bf16_is_as_close_to_fp32_as_autocast_is(tiny):
    right, autocast, mine = tiny.model(), tiny.model(), tiny.model()
    bert_layer.enable(mine)
    for model, precision in ((right, "fp32"), (autocast, "bf16"), (mine, "bf16")):
        tiny.loss(model, tiny.batch(0), precision).backward()
    assert distance(gradients(mine), gradients(right)) < 1.3 * distance(gradients(autocast), gradients(right))


def test_with_dropout_gradients_are_autograds_under_the_same_masks(tiny):
    model = tiny.model(0.3)
    layer, (_, plan, _) = model.bert.encoder.layer[0], tiny.batch(0)
    x = torch.randn(len(plan.positions), 32, generator=torch.Generator().manual_seed(0))
    pool, found = MaskPool(0), []
    with torch.no_grad():
        for module in (layer.intermediate.dense, layer.output.dense):
            module.weight.mul_(10)  # so far from 0 that one kind of GELU differs from another
    bert_layer.enable(model, pool)
    for forward in (lambda x: layer(x[None], plan=plan)[0], lambda x: reference(layer, x, plan, pool)):
        torch.manual_seed(7)
        model.zero_grad()
        given = x.clone().requires_grad_()
        y = forward(given)[: plan.tokens]
        (y * torch.arange(y.numel()).view(y.shape).cos()).sum().backward()
        found.append({"y": y.detach(), "x": given.grad, **gradients(layer)})
    assert len(found[0]) == 18
    for name, right in found[1].items():
        torch.testing.assert_close(found[0][name], right, rtol=1e-4, atol=1e-4, msg=name)


def reference(layer: Any, x: torch.Tensor, plan: Any, pool: MaskPool) -> torch.Tensor:
    """The layer by torch's operators, its masks drawn in the same order."""
    inner = layer.attention.self
    mixed = torch.zeros_like(x)
    for group in plan.groups:
        q, k, v = (m(x[group.index]).unflatten(-1, (2, 16)).transpose(1, 2) for m in (inner.query, inner.key, inner.value))
        scores = q @ k.transpose(-1, -2) / 4
        if group.mask is not None:
            scores = scores.masked_fill(~group.mask, -torch.inf)
        weights = scores.softmax(-1) * pool.mask((len(group.index) * 2, *scores.shape[2:]), 0.3).view(scores.shape)
        real = group.index < plan.tokens
        mixed = mixed.index_put((group.index[real],), (weights @ v).transpose(1, 2).flatten(2)[real])
    a = layer.attention.output.LayerNorm(x + layer.attention.output.dense(mixed) * pool.mask(tuple(x.shape), 0.3))
    rest = layer.output.dense(F.gelu(layer.intermediate.dense(a)))
    return layer.output.LayerNorm(a + rest * pool.mask(tuple(x.shape), 0.3))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("pool", [None, MaskPool(0)])
def test_twice_the_same_bits(tiny, precision, pool):
    losses = []
    for _ in range(2):
        bert_layer.enable(model := tiny.model(0.2), pool)
        losses.append(tiny.train(model, 10, precision=precision, micro=2))
    assert losses[0] == losses[1]


SIZES = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize(
    "make",
    [
        lambda: tf.RobertaModel(tf.RobertaConfig(**SIZES), add_pooling_layer=False),
        lambda: tf.XLMRobertaModel(tf.XLMRobertaConfig(**SIZES), add_pooling_layer=False),
        lambda: tf.ElectraModel(tf.ElectraConfig(**SIZES, embedding_size=16)),
        lambda: tf.CamembertModel(tf.CamembertConfig(**SIZES), add_pooling_layer=False),
        lambda: tf.ErnieModel(tf.ErnieConfig(**SIZES), add_pooling_layer=False),
        lambda: tf.DistilBertModel(tf.DistilBertConfig(vocab_size=50, dim=32, hidden_dim=48, n_layers=2, n_heads=2)),
    ],
    ids=["roberta", "xlm-roberta", "electra", "camembert", "ernie", "distilbert"],
)
def test_layers_of_the_family_are_computed_alike(tiny, make, monkeypatch):
    model = make().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    families.enable(model)
    ids, plan, _ = tiny.batch(0)
    seen, found = calls(monkeypatch), []
    for _ in range(2):
        model.zero_grad()
        hidden = model(**families._inputs(model, ids, plan, None)).last_hidden_state[0, : plan.tokens]
        (hidden * torch.arange(hidden.numel()).view(hidden.shape).cos()).sum().backward()
        found.append(gradients(model))
        bert_layer.enable(model)
    assert distance(*found) < 1e-5
    assert len(seen) == 2


def test_disabled_a_layer_is_as_it_was(tiny, monkeypatch):
    undo = bert_layer.enable(model := tiny.model())
    undo()
    seen = calls(monkeypatch)
    tiny.loss(model, tiny.batch(0)).backward()
    assert not seen
    assert "forward" not in vars(model.bert.encoder.layer[0])


def test_evaluation_hooks_and_checkpointing_take_the_models_own_way(tiny, monkeypatch):
    bert_layer.enable(model := tiny.model())
    seen = calls(monkeypatch)
    with torch.no_grad():
        tiny.loss(model, tiny.batch(0))
    tiny.loss(model.eval(), tiny.batch(0))
    model.train()
    hooks = [layer.attention.self.query.register_forward_hook(lambda *_: None) for layer in model.bert.encoder.layer]
    tiny.loss(model, tiny.batch(0))
    for hook in hooks:
        hook.remove()
    model.activation_checkpointing_enable()
    tiny.loss(model, tiny.batch(0)).backward()
    model.activation_checkpointing_disable()
    assert not seen
    tiny.loss(model, tiny.batch(0))
    assert len(seen) == 2


def test_a_gradient_seen_by_a_hook_is_given_to_it(tiny):
    bert_layer.enable(model := tiny.model())
    weight, seen = model.bert.encoder.layer[0].output.dense.weight, []
    weight.register_hook(lambda gradient: seen.append(gradient.clone()))
    for i in range(2):
        tiny.loss(model, tiny.batch(i)).backward()
    torch.testing.assert_close(sum(seen), weight.grad)


def test_only_such_layers_fit(tiny):
    assert bert_layer.fits(tiny.model())
    assert not bert_layer.fits(tiny.model(hidden_act="relu"))
    assert not bert_layer.fits(tiny.model(hidden_act="gelu_new"))
    assert not bert_layer.fits(tiny.model().requires_grad_(False))
    assert not bert_layer.fits(tiny.model().to(torch.bfloat16))
    assert not bert_layer.fits(torch.nn.TransformerEncoderLayer(8, 2))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft 0.21 with transformers 5.23
def test_adapters_do_not_fit(tiny):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny.model(), peft.LoraConfig(target_modules=["query"], r=2))
    assert not bert_layer.fits(model)


def test_the_last_layer_is_computed_where_it_is_read_by_either_way(tiny):
    plain, mine = tiny.model(), tiny.model()
    last_layer.enable(mine)
    bert_layer.enable(mine)
    found = []
    for model in (plain, mine, mine.eval()):
        ids, plan, _ = tiny.batch(0)
        given = {} if model is plain else {"read_at": plan.starts}
        embedded = model.bert.embeddings(ids[None], position_ids=plan.positions[None])
        found.append(model.bert.encoder(embedded, plan=plan, **given).last_hidden_state[0])
    for hidden in found[1:]:
        torch.testing.assert_close(hidden[plan.starts], found[0][plan.starts])
        assert not hidden[plan.starts + 1].any()
