"""Whether sentences about two groups lie unlike near sentences with two kinds of attribute words (SEAT).

Each test has its effect size with the test over words, and beside it the p-value over sentences, as published, which takes the
sentences of a word for independent.
"""

from fm_notebook.probes._associations import Associations

probe = Associations("seat", "May 2019, https://aclanthology.org/N19-1063/", "sentence")
