"""What a loaded model can tell a probe, a file a capability; see `fm_notebook.contracts.capabilities`."""
