"""Which parts of a text drove a model's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fm_notebook.contracts.values import Frozen

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["integrated-gradients", "occlusion"]
Quantity = Literal["log-odds", "log-probability", "value", "probability"]
"""What scores are parts of: the log-odds ln p/(1 − p) of a label, the log-probability of tokens, a number, or a probability."""


class Piece(Frozen):
    """One token or word, as it stands in the text that the reader wrote.

    Attributes
    ----------
    start, end : int
        Its characters, ``text[start:end]``: sub-words are parts of words, and what the vocabulary does not know keeps its own
        characters. Tokens that share a character are one piece.
    second : bool
        Whether it stands in `Attribution.text_pair`.
    token : str
        What the vocabulary has for it, such as ``##ing`` or ``[UNK]``; several tokens with spaces between.
    unknown : bool
        Whether any of it is the unknown token.
    log_probability : float or None
        Of a language model: ln p of the piece after all before it; None where nothing stands before.
    """

    start: int
    end: int
    second: bool = False
    token: str
    unknown: bool = False
    log_probability: float | None = None


class MethodScores(Frozen):
    """What one method says of each piece.

    Attributes
    ----------
    method : str
        ``integrated-gradients`` (Sundararajan et al. 2017) or ``occlusion``.
    scores : list of float or None
        One for each piece, above 0 if it speaks for the label; None where it cannot matter, as what follows a token does not
        matter to a causal language model. Their unit is `quantity`.
    quantity : str
        See `Quantity`. Of integrated gradients the scores add up to the difference that the whole text makes to it; of occlusion
        a score is what is lost without that piece alone.
    baseline : str
        What stands instead of the pieces: a token's name, ``zero`` (embeddings of zeros), or ``removal``.
    output, baseline_output : float
        `quantity` of the text, and of the baseline instead of all pieces (occlusion: of the text).
    steps : int or None
        Points on the path from baseline to text, at which gradients were taken.
    completeness_error : float or None
        ``|sum of scores − (output − baseline_output)|``, 0 if the integral were exact.
    """

    method: Method
    scores: list[float | None]
    quantity: Quantity
    baseline: str
    output: float
    baseline_output: float
    steps: int | None = None
    completeness_error: float | None = None

    @property
    def relative_error(self) -> float | None:
        """The completeness error as a share of the whole difference, from 0."""
        whole = abs(self.output - self.baseline_output)
        return None if self.completeness_error is None else self.completeness_error / whole if whole else float("inf")


class Attribution(Frozen):
    """Which parts of one text drove one model's answer to it.

    Attributes
    ----------
    text, text_pair : str
        As the reader wrote them.
    label : str
        The label that is explained; of a language model the token or tokens.
    predicted : str
        The model's own answer.
    labels : list of str
        In the order of `probabilities`; of a language model the explained tokens alone.
    probabilities : list of float
        Of each label, 0 to 1 (they add up to 1 unless there are several labels a text); for numbers the one number.
    problem : str
        ``single-label``, ``multi-label``, ``regression``, or ``next-token``.
    pieces : list of Piece
        In reading order; what was cut off has none.
    methods : list of MethodScores
        Empty if only the answer was asked for.
    agreement : float or None
        Spearman's rank correlation of the two methods' scores, −1 to 1; None where it is not defined.
    target : list of int
        Numbers of the pieces whose tag or probability is explained; empty if it is the text's.
    cut_at, cut_pair_at : int or None
        Character from which the model did not read the text because it is too long for it.
    tokens : int
        Read by the model, special ones included.
    unknown_share : float
        Share of unknown tokens among those of the text, 0 to 1.
    """

    model: str
    run: str | None = None
    task: str = "text-classification"
    problem: Literal["single-label", "multi-label", "regression", "next-token"] = "single-label"
    text: str
    text_pair: str | None = None
    label: str
    predicted: str
    labels: list[str]
    probabilities: list[float]
    pieces: list[Piece]
    methods: list[MethodScores] = Field(default_factory=list)
    agreement: float | None = None
    target: list[int] = Field(default_factory=list)
    cut_at: int | None = None
    cut_pair_at: int | None = None
    tokens: int = 0
    unknown_share: float = 0.0
    seed: int = 0
    seconds: float = 0.0
    spec: dict[str, Any] = Field(default_factory=dict)

    @property
    def probability(self) -> float:
        """That of `label`; for numbers the number."""
        return self.probabilities[self.labels.index(self.label)]

    def written(self, piece: Piece) -> str:
        """The characters of `piece`."""
        return ((self.text_pair or "") if piece.second else self.text)[piece.start : piece.end]

    def __getitem__(self, method: str) -> MethodScores:
        """What `method` says."""
        return next(each for each in self.methods if each.method == method)

    def to_pandas(self) -> pd.DataFrame:
        """One row a piece: ``piece``, ``token``, ``start``, ``end``, a column for each method, and what else is known of it."""
        import pandas as pd

        frame = pd.DataFrame(
            {
                "piece": [self.written(piece) for piece in self.pieces],
                "token": [piece.token for piece in self.pieces],
                "start": [piece.start for piece in self.pieces],
                "end": [piece.end for piece in self.pieces],
            }
        )
        if self.text_pair is not None:
            frame["second"] = [piece.second for piece in self.pieces]
        for each in self.methods:
            frame[each.method.replace("-", "_")] = pd.array(each.scores, dtype="float64")  # None is missing
        if any(piece.log_probability is not None for piece in self.pieces):
            frame["log_probability"] = pd.array([piece.log_probability for piece in self.pieces], dtype="float64")
        return frame
