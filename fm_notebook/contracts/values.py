"""The numbers and words that specs are made of, and what makes a value a value."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, lt=1, strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, strict=True)]
Column = Annotated[str, Field(min_length=1, json_schema_extra={"format": "column"})]
RunName = Annotated[str, Field(json_schema_extra={"format": "run"})]
TaskName = Annotated[str, Field(json_schema_extra={"format": "task"})]
MetricName = Annotated[str, Field(json_schema_extra={"format": "metric"})]
TrackerName = Annotated[str, Field(pattern=r"^[\w-]+$", json_schema_extra={"format": "tracker"})]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", examples=["auto", "cpu", "cuda", "mps"])]


class Frozen(BaseModel):
    """A value: immutable, closed to unknown fields; non-finite numbers survive the round trip through JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, ser_json_inf_nan="strings", protected_namespaces=())
