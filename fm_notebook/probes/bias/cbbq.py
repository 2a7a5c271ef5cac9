"""BBQ's questions for Chinese society, by BBQ's formulas and by CBBQ's own, with the target told from the data."""

from typing import Literal

from fm_notebook.probes import _questions


class Spec(_questions.Spec):
    """As BBQ's, with the Chinese seed set."""

    language: Literal["en", "zh"] = "zh"


probe = _questions.Questions("cbbq", "Huang and Xiong 2024, https://arxiv.org/abs/2306.16244", "cbbq", "CC BY-SA 4.0", Spec)
