import pytest

from fm_notebook.data.reading import Reading


@pytest.mark.parametrize(
    ("reading", "names", "columns"),
    [
        (Reading("tags"), ["words", "tags"], {"text": "words", "label": "tags"}),
        (Reading("tags"), ["tokens", "ner_tags", "id"], {"text": "tokens", "label": "ner_tags"}),
        (Reading("tags"), ["text", "tokens", "label", "tags"], {"text": "text", "label": "label"}),
        (Reading("tags", text="body", label="bio"), ["words", "tags"], {"text": "body", "label": "bio"}),
        (Reading("tags", label=None), ["tokens"], {"text": "tokens"}),
        (Reading("auto"), ["text", "labels"], {"text": "text", "label": "labels"}),
        (Reading("auto"), ["text", "label", "labels"], {"text": "text", "label": "label"}),
        (Reading("single-label"), ["text", "labels"], {"text": "text", "label": "label"}),
        (Reading("generation"), ["text"], {"text": "text"}),
        (Reading("generation"), ["text", "messages", "prompt", "completion"], {"text": "text"}),
        (Reading("generation"), ["messages"], {"messages": "messages"}),
        (Reading("generation"), ["prompt", "completion"], {"prompt": "prompt", "completion": "completion"}),
        (Reading("generation", prompt="question"), ["question", "text"], {"prompt": "question", "completion": "completion"}),
        (Reading("generation", messages="talk"), ["text", "talk"], {"messages": "talk"}),
        (Reading("generation", text="body"), ["messages"], {"text": "body"}),
        (Reading("text"), ["text", "label"], {"text": "text"}),
    ],
)
def test_columns_are_those_named_or_else_their_stand_ins(reading, names, columns):
    assert reading.among(names).columns == columns
