"""Results as values: what Python prints of them outside of a notebook."""

from fm_notebook.contracts.results import DataRef, Evaluation, Interval, Score


def test_an_evaluation_prints_as_one_line_with_intervals():
    scores = [
        Score(name="accuracy", value=0.8, n=20, interval=Interval(low=0.58, high=0.919, method="wilson")),
        Score(name="perplexity", value=1.5e300, n=20),
    ]
    found = Evaluation(
        model="bert", run="first.2", data=DataRef(source="frame", kind="value"), labels=["a"], n=1200, scores=scores
    )
    expected = "<Evaluation of first.2 on frame, n = 1,200: accuracy 0.8 [0.58, 0.919], perplexity 1.5e+300>"
    assert repr(found) == str(found) == expected
