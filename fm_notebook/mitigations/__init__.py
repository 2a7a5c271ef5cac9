"""Ways to lessen differences between groups while a model is fine-tuned, one file each: `mitigations["reweighing"]`.

What each assumes, and what it cannot do, stands in ``docs/mitigations.md``.
"""

from fm_notebook.contracts.protocols import Mitigation
from fm_notebook.contracts.registry import Registry

mitigations: Registry[Mitigation] = Registry("mitigation", "fm_notebook.mitigations")

__all__ = ["mitigations"]
