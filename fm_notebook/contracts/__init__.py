"""What the parts of fm_notebook tell each other: specs, events, results, protocols and the registry. No torch."""
