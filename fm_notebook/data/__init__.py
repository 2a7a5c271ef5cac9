"""Rows: from what the user wrote to Arrow tables that a job folder holds. No torch.

``prepare`` is the way in for everything above; ``sources`` reads, ``columns`` gives the canonical columns, ``splits`` holds rows
out, ``fingerprint`` tells equal data, ``samples`` knows the installed packages that carry data or a model.
"""
