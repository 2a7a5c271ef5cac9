"""``%config FMNotebook.<field> = …``: the settings as IPython's own way of setting things shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from traitlets import HasTraits, TraitType
from traitlets.config import Config, Configurable

from fm_notebook import messages
from fm_notebook.errors import FMError
from fm_notebook.jobs import placement
from fm_notebook.magics.arguments import Flag, Line
from fm_notebook.session import settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class _Setting(TraitType[Any, Any]):
    """A setting by its name. The value is kept with the other settings, where scripts find it too."""

    def get(self, obj: HasTraits, cls: type | None = None) -> Any:  # noqa: ARG002 - traitlets' form
        return settings.value(str(self.name))

    def set(self, obj: HasTraits, value: Any) -> None:  # noqa: ARG002
        settings.configure(str(self.name), value)


_TRAITS = {name: _Setting().tag(config=True) for name in settings.names()}
_WithTraits: Any = type(Configurable)("_WithTraits", (Configurable,), {**_TRAITS, "__module__": __name__})


class FMNotebook(_WithTraits):
    """Defaults of fields and flags; see `fm_notebook.session.settings`."""

    def _load_config(self, cfg: Config, section_names: Any = None, traits: Any = None) -> None:  # noqa: ARG002
        """Take over what `cfg` says of us; traitlets would only warn of names that it does not know, in its own words."""
        for name, value in self._find_my_config(cfg).items():
            settings.configure(name, value)

    @classmethod
    def class_get_help(cls, inst: Any = None) -> str:
        """What ``%config FMNotebook`` prints: what is set and where; without an instance what can be set, for completion."""
        if inst is not None:
            return f"{settings.current()!r}\n{messages.text('settings.more')}"
        return "\n".join(f"--{cls.__name__}.{name}=<{settings.expected(name)}>" for name in settings.names())


def install(shell: InteractiveShell) -> Callable[[], None]:
    """Make ``%config FMNotebook`` known to the shell, and take what its configuration files say; returns how to undo that."""
    ours = FMNotebook()
    shell.configurables.append(ours)
    before = Config({"FMNotebook": deepcopy(shell.config["FMNotebook"])})
    for name, value in before["FMNotebook"].items():
        try:
            settings.configure(name, value)
        except FMError as error:
            messages.say("settings.warning", text=messages.text("error.where", where="ipython_config") + f" {error}")
    settings.current()

    def undo() -> None:
        with suppress(ValueError):
            shell.configurables.remove(ours)
        settings.forget()
        shell.config["FMNotebook"] = before["FMNotebook"]  # %config writes there too, even what was refused

    return undo


def fill(asked: Line, flags: Sequence[Flag]) -> Line:
    """`asked` with the flags that are set and that the line says nothing of, as far as the magic has them."""
    known = {flag.name: flag for flag in flags}
    on = {name for name in ("quiet", "wait") if name in known and name not in asked.off and settings.value(name)}
    values = dict(asked.values)
    where = settings.value("on")
    alone = bool(asked.on & {"dry-run", "find-lr"})
    if "on" in known and "on" not in values and known["on"].accepts(where) and not (alone and placement.parse(where).is_together):
        values["on"] = where
    return replace(asked, on=asked.on | on, values=values)
