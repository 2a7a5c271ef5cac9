"""Kinds of problem, one file each: `tasks["text-classification"]`."""

from fm_notebook.contracts.protocols import Task
from fm_notebook.contracts.registry import Registry

tasks: Registry[Task] = Registry("task", "fm_notebook.tasks")

__all__ = ["tasks"]
