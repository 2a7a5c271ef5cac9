"""What a model can be asked is told from its ``config.json``, as published ones have it."""

import pytest

from fm_notebook.contracts import abilities

READS = {"embeddings", "attentions"}
MASKS, PAIRS, WRITES, CLASSES = {"masked_log_probs"}, {"next_sentence"}, {"log_likelihoods", "generate"}, {"class_probabilities"}
TWO = {"id2label": {"0": "no", "1": "yes"}}


@pytest.mark.parametrize(
    ("name", "settings", "able"),
    [
        ("bert-base-uncased", {"architectures": ["BertForMaskedLM"], "model_type": "bert"}, READS | MASKS | PAIRS),
        ("bert for pre-training", {"architectures": ["BertForPreTraining"], "model_type": "bert"}, READS | MASKS | PAIRS),
        ("roberta-base", {"architectures": ["RobertaForMaskedLM"], "model_type": "roberta"}, READS | MASKS),
        ("distilbert", {"architectures": ["DistilBertForMaskedLM"], "model_type": "distilbert"}, READS | MASKS),
        ("electra generator", {"architectures": ["ElectraForMaskedLM"], "model_type": "electra"}, READS | MASKS),
        ("electra discriminator", {"architectures": ["ElectraForPreTraining"], "model_type": "electra"}, READS),
        ("deberta", {"architectures": ["DebertaV2ForMaskedLM"], "model_type": "deberta-v2"}, READS | MASKS),
        ("modernbert", {"architectures": ["ModernBertForMaskedLM"], "model_type": "modernbert"}, READS | MASKS),
        ("gpt2", {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}, READS | WRITES),
        ("llama", {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, READS | WRITES),
        ("t5", {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, {"log_likelihoods"}),
        ("bart", {"architectures": ["BartForConditionalGeneration"], "is_encoder_decoder": True}, {"log_likelihoods"}),
        ("a bare encoder-decoder", {"architectures": ["BartModel"], "is_encoder_decoder": True}, set()),
        ("classifier", {"architectures": ["BertForSequenceClassification"], "model_type": "bert", **TWO}, READS | CLASSES),
        ("two unnamed labels", {"architectures": ["DistilBertForSequenceClassification"]}, READS | CLASSES),
        ("regression", {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "score"}}, READS),
        (
            "one label of several that may hold",
            {
                "architectures": ["BertForSequenceClassification"],
                "id2label": {"0": "x"},
                "problem_type": "multi_label_classification",
            },
            READS | CLASSES,
        ),
        ("tagger", {"architectures": ["BertForTokenClassification"], "model_type": "bert", **TWO}, READS),
        ("MiniLM", {"architectures": ["BertModel"], "model_type": "bert"}, READS),
        ("nothing is said", {"model_type": "bert"}, READS),
        ("pairs alone", {"architectures": ["BertForNextSentencePrediction"], "model_type": "bert"}, READS | PAIRS),
    ],
)
def test_heads_are_told_by_their_architecture(name, settings, able):
    assert abilities.able(settings) == able, name


def test_gguf_holds_causal_language_models():
    assert abilities.GGUF == READS | WRITES
