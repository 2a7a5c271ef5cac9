"""Looking at single rows of a finished evaluation: which ones, in which order, what is said of them. No widget and no torch."""
