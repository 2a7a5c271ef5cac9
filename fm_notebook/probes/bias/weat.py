"""Whether the words for two groups lie unlike near two kinds of attribute words (WEAT).

Made for word vectors: a model of sentences reads each word as a text of its own, which it seldom saw in training; `seat` puts the
words into sentences.
"""

from fm_notebook.probes._associations import Associations

probe = Associations("weat", "Caliskan 2017, https://doi.org/10.1126/science.aal4230", "word")
