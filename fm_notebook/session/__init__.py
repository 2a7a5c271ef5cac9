"""Runs and jobs as the notebook sees them: handles, folders, queues and the start of workers. No torch."""
