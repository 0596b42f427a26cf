"""The body of a submission as pydantic declares it: the one that the constant and the in-memory app share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt

MAX_INTEGER = 2**63 - 1


class Submission(BaseModel):
    ids: list[Annotated[StrictInt, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]] = Field(min_length=1)
    priority: Literal["HIGH", "MEDIUM", "LOW"] = "MEDIUM"
