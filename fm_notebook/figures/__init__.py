"""Pictures as PNG with alternative text. Matplotlib's object interface on Agg: no pyplot, no global state."""
