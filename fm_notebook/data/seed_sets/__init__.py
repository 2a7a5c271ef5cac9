"""Small sets of sentences for the bias probes, written by this project in English and in Chinese.

They need no download, so that a probe can be tried anywhere; they are labelled as seed sets, and figures on them are compared
with no published ones. Each language is written for itself, so that the two are not translations of each other: compare models
on one language, not one model on two. Every table is the same at every call, and no template and no term makes up more than a
twentieth of an axis.
"""

from fm_notebook.data.seed_sets.asked import fills, hurtful, prompts, questions
from fm_notebook.data.seed_sets.files import axes, languages
from fm_notebook.data.seed_sets.paired import feelings, pairs, pronouns
from fm_notebook.data.seed_sets.sentences import capitalised, filled
from fm_notebook.data.seed_sets.word_tests import AssociationTest, associations, templates

LICENCE = "Apache-2.0"

__all__ = [
    "LICENCE",
    "AssociationTest",
    "associations",
    "axes",
    "capitalised",
    "feelings",
    "filled",
    "fills",
    "hurtful",
    "languages",
    "pairs",
    "prompts",
    "pronouns",
    "questions",
    "templates",
]
