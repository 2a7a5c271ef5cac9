"""TensorBoard: scalars in event files in the run's folder, for ``%tensorboard --logdir runs``.

Written by TensorBoard's own writer, without torch or TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fm_notebook import extras

if TYPE_CHECKING:
    from fm_notebook.contracts.protocols import TrackedRun


class TensorBoard:
    """A `fm_notebook.contracts.protocols.Tracker`. Resumed, it writes a second file, which TensorBoard shows as one."""

    name = "tensorboard"
    source = "https://www.tensorflow.org/tensorboard"
    package, extra = "tensorboard", "tensorboard"
    _writer: Any = None

    def begin(self, run: TrackedRun) -> str:
        """Open an event file; the spec stands in it as text."""
        self._writer = _module("summary.writer.event_file_writer").EventFileWriter(str(run.folder))
        if not run.id:
            self._add(_as_text(run.config), 0, run.started)
        return run.id or run.name

    def log(self, step: int, values: Mapping[str, float], time: float) -> None:
        """Write scalars."""
        Summary = _module("compat.proto.summary_pb2").Summary  # noqa: N806 - a class
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(Summary(value=scalars), step, time)

    def end(self, state: str) -> None:
        """Close the file."""
        del state
        self._writer.close()

    def _add(self, summary: Any, step: int, time: float) -> None:
        event = _module("compat.proto.event_pb2").Event(wall_time=time, step=step, summary=summary)
        self._writer.add_event(event)


def _as_text(config: Mapping[str, Any]) -> Any:
    """The summary of a text, ``spec``: TensorBoard's own function for it needs TensorFlow."""
    proto, shapes = _module("compat.proto.summary_pb2"), _module("compat.proto.tensor_shape_pb2")
    about = _module("plugins.text.plugin_data_pb2").TextPluginData(version=0).SerializeToString()
    plugin = proto.SummaryMetadata.PluginData(plugin_name="text", content=about)
    shown = json.dumps(config, indent=2, ensure_ascii=False).replace("\n", "\n    ")  # Markdown: indented is code
    tensor = _module("compat.proto.tensor_pb2").TensorProto(
        dtype="DT_STRING", string_val=[f"    {shown}".encode()],
        tensor_shape=shapes.TensorShapeProto(dim=[shapes.TensorShapeProto.Dim(size=1)]),
    )  # fmt: skip
    value = proto.Summary.Value(tag="spec", metadata=proto.SummaryMetadata(plugin_data=plugin), tensor=tensor)
    return proto.Summary(value=[value])


def _module(name: str) -> ModuleType:
    return extras.require(f"tensorboard.{name}", extra="tensorboard")


tracker = TensorBoard()
