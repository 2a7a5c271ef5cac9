"""The process that owns a device: it takes jobs from its queue and executes them. Models live here, never in the kernel."""
