"""The process that owns a device: takes jobs from its queue and executes them. Models live here, never in the notebook's kernel."""
