"""The public functions, one a magic: fields in, handles and values out."""

from fm_notebook.session.evaluating import finish_evaluation, prepare_evaluation
from fm_notebook.session.explaining import finish_explanation, prepare_explanation
from fm_notebook.session.inspection.opening import finish_inspection, prepare_inspection
from fm_notebook.session.trying import finish_trial, prepare_dry_run, prepare_find_lr
from fm_notebook.verbs.comparing import compare, finish_comparison, prepare_comparison
from fm_notebook.verbs.probing import finish_probes, prepare_probes, probe
from fm_notebook.verbs.project import register, runs, settings
from fm_notebook.verbs.scoring import evaluate, explain, inspect
from fm_notebook.verbs.training import dry_run, find_lr, finetune, has_started, prepare_finetune

__all__ = [
    "compare",
    "dry_run",
    "evaluate",
    "explain",
    "find_lr",
    "finetune",
    "finish_comparison",
    "finish_evaluation",
    "finish_explanation",
    "finish_inspection",
    "finish_probes",
    "finish_trial",
    "has_started",
    "inspect",
    "prepare_comparison",
    "prepare_dry_run",
    "prepare_evaluation",
    "prepare_explanation",
    "prepare_find_lr",
    "prepare_finetune",
    "prepare_inspection",
    "prepare_probes",
    "probe",
    "register",
    "runs",
    "settings",
]
