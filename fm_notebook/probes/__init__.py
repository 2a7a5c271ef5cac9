"""Questions put to a model, one file each, in a folder a family: `probes["crows-pairs"].source`.

What each can and cannot show stands in ``docs/probes.md``.
"""

from fm_notebook.contracts.probing import Probe
from fm_notebook.contracts.registry import Registry

probes: Registry[Probe] = Registry("probe", "fm_notebook.probes")

__all__ = ["probes"]
