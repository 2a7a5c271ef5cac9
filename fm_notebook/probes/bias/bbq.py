"""Whom a language model names when the text does not say who it was, and whether it overrules a text that does (BBQ)."""

from fm_notebook.probes._questions import Questions

probe = Questions("bbq", "Parrish 2022, https://aclanthology.org/2022.findings-acl.165", "bbq", "CC BY 4.0")
