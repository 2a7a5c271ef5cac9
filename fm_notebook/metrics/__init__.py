"""Numbers from predictions, each with ``n`` and an interval. NumPy and SciPy; no torch."""
