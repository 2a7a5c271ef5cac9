"""Rows: from what the user wrote to Arrow tables that a job folder holds. No torch.

``prepare`` is the way in for everything above. ``sources`` reads (``files``: ``delimited``, ``conll``; ``values``, ``hub``,
``samples``); ``reading`` says what a task asks for; ``encoding`` gives the canonical columns batch by batch, a file for each kind
of target: ``targets`` (classes, numbers), ``tagging`` (``words``, ``spans``, ``schemes``), ``language`` (texts, conversations).
``splits`` holds rows out, ``fingerprint`` tells equal data, ``stored`` keeps tables in Arrow files, large ones out of memory.
"""
