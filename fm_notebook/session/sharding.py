"""What a model that is shared out over processes goes together with, told before anything starts."""

from __future__ import annotations

from fm_notebook.contracts.specs import FinetuneSpec, Spec
from fm_notebook.errors import SpecError
from fm_notebook.jobs.placement import Placement
from fm_notebook.session.given import Fields

APART = ("lora", "prompt_tuning", "freeze", "probe_every")
"""Fields that ``fsdp`` does not go together with."""


def check_fields(spec: FinetuneSpec, given: Fields) -> None:
    """See to it that `spec`, made of the fields `given`, asks for nothing else that a model in shards cannot do.

    Raises
    ------
    SpecError
        If it does.
    """
    rival = next((name for name in APART if spec.fsdp and getattr(spec, name)), None)
    if rival:
        line = next((given[name].line for name in ("fsdp", rival) if name in given), None)
        raise SpecError("fsdp.not_with", line=line, field=rival)


def check_processes(spec: Spec, where: Placement) -> None:
    """See to it that a model which is to be shared out has processes to share it.

    Raises
    ------
    SpecError
        If there is but one.
    """
    if isinstance(spec, FinetuneSpec) and spec.fsdp and where.processes == 1:
        raise SpecError("fsdp.alone")
