"""What a notebook shows: the live panel of a job and the card that stays in the saved file. Nothing here raises into a run."""
