"""Training and scoring with torch and transformers: the only room, with `tasks` and `worker`, that imports them."""
