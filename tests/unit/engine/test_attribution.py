"""Integrated gradients and occlusion, against closed forms, finite differences and the model asked by hand."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from fm_notebook.engine import attribution, families
from fm_notebook.engine.asking import Written, of_text
from fm_notebook.engine.attribution import TOLERANCE, Baseline
from fm_notebook.engine.questions import Question, Sentence, plainly

TEXT = "good film and the plot was not dull"
NOWHERE = np.zeros(0, np.int64)


class Additive(torch.nn.Module):
    """A model whose answer is a sum over tokens of w · e, or of a function of it."""

    def __init__(self, curve=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.weights, self.curve = torch.nn.Embedding(9, 4), torch.nn.Parameter(torch.randn(4)), curve

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.curve(self.words(input_ids) @ self.weights).sum(1, keepdim=True))


@pytest.fixture
def asked(tokenizer):
    return of_text(tokenizer, Written(TEXT), 32, "single-label")


def tokens(asked):
    return list(asked.groups.values())


def explained(model, tokenizer, asked, label=1, **settings):
    with plainly(model):
        baseline = Baseline.of(tokenizer, model.get_input_embeddings(), "auto")
        return attribution.integrated_gradients(model, asked.question, label, tokens(asked), baseline, **settings)


@pytest.mark.parametrize("zero", [True, False])
def test_of_a_linear_model_the_scores_are_its_terms(zero):
    model = Additive()
    question = Question((Sentence(np.array([1, 5, 6, 7, 2]), None, np.array([1, 2, 3]), NOWHERE),), "regression")
    found = attribution.integrated_gradients(model, question, 0, [[0], [1, 2]], Baseline("b", None if zero else 3), steps=1)
    terms = (model.words.weight @ model.weights).detach().numpy()
    nothing = 0.0 if zero else terms[3]
    assert found.scores == pytest.approx([terms[5] - nothing, terms[6] + terms[7] - 2 * nothing], abs=1e-6)
    assert found.completeness_error < 1e-6
    assert found.output == pytest.approx(terms[[1, 5, 6, 7, 2]].sum(), abs=1e-6)
    assert found.baseline_output == pytest.approx(terms[[1, 2]].sum() + 3 * nothing, abs=1e-6)


def test_of_a_sum_of_powers_each_token_has_its_own_difference():
    model = Additive(lambda x: x**4)
    question = Question((Sentence(np.array([1, 5, 6]), None, np.array([1, 2]), NOWHERE),), "regression")
    found = attribution.integrated_gradients(model, question, 0, [[0], [1]], Baseline("b", 3), steps=4)
    powers = ((model.words.weight @ model.weights) ** 4).detach().numpy()
    assert found.scores == pytest.approx([powers[5] - powers[3], powers[6] - powers[3]], rel=1e-4)  # four points: degree 7


def test_of_bert_the_scores_are_the_integral_by_finite_differences(make_wide, tokenizer, asked):
    model = make_wide().double().eval()
    found = explained(model, tokenizer, asked, steps=128)
    with plainly(model), torch.no_grad():
        there, here = attribution._ends(model, asked.question, Baseline.of(tokenizer, model.get_input_embeddings(), "auto"))
        measure = lambda values: asked.question.measure(asked.question.embedded(model, values[None]), 1)[0].item()  # noqa: E731
        points, weights = np.polynomial.legendre.leggauss(128)
        for i in (0, 3, len(there) - 1):
            step = torch.zeros_like(there)
            step[i] = 1e-3 * (there - here)[i]
            along = [here + (1 + alpha) / 2 * (there - here) for alpha in points]
            slopes = [(measure(at + step) - measure(at - step)) / 2e-3 for at in along]
            assert found.scores[i] == pytest.approx(float(np.dot(weights, slopes)) / 2, abs=1e-5)


@pytest.fixture
def make_wide():
    """A BERT with large random weights: its answers are anything but linear."""
    from transformers import BertConfig, BertForSequenceClassification

    def make(seed: int = 0):
        torch.manual_seed(seed)
        return BertForSequenceClassification(
            BertConfig(
                vocab_size=25, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                max_position_embeddings=32, initializer_range=0.5, num_labels=3,
            )
        ).eval()  # fmt: skip

    return make


def test_the_scores_add_up_at_the_default_steps_and_steps_are_doubled_until_they_do(make_wide, tokenizer, asked):
    found = explained(make_wide(), tokenizer, asked)
    assert found.completeness_error < TOLERANCE
    assert found.completeness_error == pytest.approx(abs(sum(found.scores) - found.output + found.baseline_output), abs=1e-5)
    rough = explained(make_wide(), tokenizer, asked, steps=2)
    assert rough.steps == 2
    assert rough.completeness_error > TOLERANCE
    assert found.steps > rough.steps


def test_steps_are_doubled_no_further_than_the_work_allows(make_wide, tokenizer, asked, monkeypatch):
    monkeypatch.setattr(attribution, "TOLERANCE", 0.0)
    model = make_wide()
    monkeypatch.setattr(attribution, "MOST_WORK", 130 * attribution._work(model, asked.question))
    assert explained(model, tokenizer, asked).steps == 128
    monkeypatch.setattr(attribution, "MOST_WORK", 1)
    assert explained(model, tokenizer, asked).steps == attribution.FIRST_STEPS


def test_what_is_explained_are_the_log_odds_of_the_label(make_wide, tokenizer, asked):
    model = make_wide()
    found = explained(model, tokenizer, asked, label=2)
    p = model(**tokenizer(TEXT, return_tensors="pt")).logits.softmax(-1)[0, 2].item()
    assert found.output == pytest.approx(np.log(p / (1 - p)), rel=1e-4)
    masked = tokenizer(TEXT, return_tensors="pt")
    masked["input_ids"][0, 1:-1] = tokenizer.mask_token_id
    p = model(**masked).logits.softmax(-1)[0, 2].item()
    assert found.baseline_output == pytest.approx(np.log(p / (1 - p)), rel=1e-4)
    assert found.baseline == "[MASK]"


def test_other_weights_give_other_scores(make_wide, tokenizer, asked):
    """The sanity check of Adebayo et al. (2018): an explanation that survives random weights explains the text alone."""
    first = explained(make_wide(0), tokenizer, asked).scores
    assert explained(make_wide(0), tokenizer, asked).scores == first
    agreements = [spearmanr(first, explained(make_wide(seed), tokenizer, asked).scores).statistic for seed in range(1, 6)]
    assert abs(np.mean(agreements)) < 0.5
    head = make_wide(0)
    torch.nn.init.normal_(head.classifier.weight, generator=torch.Generator().manual_seed(7))
    assert spearmanr(first, explained(head, tokenizer, asked).scores).statistic < 0.9


def test_occlusion_is_what_the_probability_loses_with_a_masked_piece(make_wide, tokenizer, asked):
    model = make_wide()
    groups = [(0,), (3, 4)]
    with plainly(model):
        found = attribution.occlusion(model, tokenizer, asked.question, 1, groups)
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    p = lambda ids: model(input_ids=ids).logits.softmax(-1)[0, 1].item()  # noqa: E731
    for score, group in zip(found.scores, groups, strict=True):
        hidden = ids.clone()
        hidden[0, [1 + i for i in group]] = tokenizer.mask_token_id
        assert score == pytest.approx(p(ids) - p(hidden), abs=1e-5)


def test_where_there_is_no_mask_token_a_piece_is_taken_out(make_wide, tokenizer, asked):
    maskless, model = copy.deepcopy(tokenizer), make_wide()
    maskless.mask_token = None
    with plainly(model):
        found = attribution.occlusion(model, maskless, asked.question, 0, [(0,), (1, 2), tuple(range(8))])
    assert found.baseline == "removal"
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    p = lambda ids: model(input_ids=ids).logits.softmax(-1)[0, 0].item()  # noqa: E731
    kept = [[0, *range(2, 10)], [0, 1, *range(4, 10)], [0, 9]]
    assert found.scores == pytest.approx([p(ids) - p(ids[:, each]) for each in kept], abs=1e-5)


def test_the_model_is_left_as_it_was_found(make_wide, tokenizer, asked):
    model = make_wide().train()
    model.bert.embeddings.eval()
    model.classifier.requires_grad_(False)
    families.enable(model)
    weights = copy.deepcopy(model.state_dict())
    modes, asks = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    explained(model, tokenizer, asked, steps=2)
    with plainly(model):
        assert not families.is_enabled(model)
        attribution.occlusion(model, tokenizer, asked.question, 0, tokens(asked))
    assert families.is_enabled(model)
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == asks
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_what_checks_may_end_the_work(make_wide, tokenizer, asked):
    def check():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        explained(make_wide(), tokenizer, asked, check=check)


def test_the_baseline_is_the_mask_else_another_token_that_says_nothing_and_is_not_zero(tokenizer):
    layer = torch.nn.Embedding(len(tokenizer), 4)
    assert Baseline.of(tokenizer, layer, "auto") == Baseline("[MASK]", 4)
    assert Baseline.of(tokenizer, layer, "pad") == Baseline("[PAD]", 0)
    assert Baseline.of(tokenizer, layer, "zero").token is None
    maskless = copy.deepcopy(tokenizer)
    maskless.mask_token = None
    assert Baseline.of(maskless, layer, "mask") == Baseline.of(maskless, layer, "auto") == Baseline("[PAD]", 0)
    layer.weight.data[0] = 0
    assert Baseline.of(maskless, layer, "auto") == Baseline("[UNK]", 1)
    assert Baseline.of(maskless, layer, "pad") == Baseline("[PAD]", 0)


def test_of_several_labels_each_stands_for_itself(make_wide, tokenizer, asked):
    question = Question(asked.question.sentences, "multi-label")
    logits = torch.tensor([[0.5, -1.0, 2.0]])
    assert question.measure(logits, 1).item() == -1.0
    assert question.probabilities(logits)[0] == pytest.approx(1 / (1 + np.exp([-0.5, 1.0, -2.0])))
