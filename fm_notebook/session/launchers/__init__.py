"""Where a job is executed: in the device's worker process, or in this kernel's main thread."""
