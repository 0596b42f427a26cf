"""The shapes of /v1: allow-lists of what is shown, strict about what is taken. Instants are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from headgate.api import examples
from headgate.core.ids import MAX_INTEGER, MAX_TEXT
from headgate.core.model import Ending, Status

_LAST_INSTANT = 253_402_300_799_999_999


def instant(us: int) -> str:
    """Wall time in microseconds as people see it; what would be after the year 9999 is shown as its end."""
    seconds, rest = divmod(min(us, _LAST_INSTANT), 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def instant_or_none(us: int | None) -> str | None:
    return None if us is None else instant(us)


class PriorityName(StrEnum):
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


IdValue = Annotated[
    int | str,
    WithJsonSchema(
        {
            "description": "An integer within ±(2^63−1), or a text, as the source takes.",
            "anyOf": [
                {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
                {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
            ],
        }
    ),
]


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class IngestBody(BaseModel):
    """What `POST /ingest` takes. Other keys are ignored."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": [1, 2, 3, 4, 5], "priority": "HIGH"}]}
    )
    ids: list[IdValue] = Field(min_length=1, description="What to fetch; repeats are fetched once.")
    priority: PriorityName = PriorityName.MEDIUM


class IngestAnswer(Shown):
    """The id to ask `/status` with."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ingestion_id": "01935fda-e3e7-7f3d-ac52-6bfc4124c292"}]}
    )
    ingestion_id: str


class StatusBatch(Shown):
    batch_id: str
    ids: list[IdValue]
    status: Status


class StatusAnswer(Shown):
    """Where an ingestion and each of its batches stands, in the order of the list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ingestion_id": "01935fda-e3e7-7f3d-ac52-6bfc4124c292",
                    "status": "triggered",
                    "batches": [
                        {
                            "batch_id": "60648ea3-7438-51ff-92dc-a4115c3ccb93",
                            "ids": [1, 2, 3],
                            "status": "completed",
                        },
                        {
                            "batch_id": "956c39fa-d0ac-5ba3-854b-63d20fc39982",
                            "ids": [4, 5],
                            "status": "yet_to_start",
                        },
                    ],
                }
            ]
        }
    )
    ingestion_id: str
    status: Status
    batches: list[StatusBatch]


class SeedMistake(Shown):
    type: str
    loc: list[str | int]
    msg: str


class SeedErrors(Shown):
    """Up to 20 mistakes, each with its place, as FastAPI words them."""

    model_config = _example(
        {"detail": [{"type": "enum", "loc": ["body", "priority"], "msg": "Input should be ..."}]}
    )
    detail: list[SeedMistake]


class SeedError(Shown):
    model_config = _example({"detail": "there is no ingestion with this id"})
    detail: str


class SubmissionBody(BaseModel):
    """An ingestion to be accepted. Unknown keys are mistakes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"ids": [1, 2, 3, 4, 5], "priority": "HIGH", "source": "simulated"}]
        },
    )
    ids: list[IdValue] = Field(min_length=1, description="What to fetch; repeats are fetched once.")
    priority: PriorityName = PriorityName.MEDIUM
    source: str | None = Field(
        default=None, description="Which source; without it, the default one."
    )


class CountsOut(Shown):
    """Of ids: as sent, distinct, begun, how they ended, and how many are left."""

    ids: int
    distinct: int
    begun: int
    fetched: int
    missing: int
    failed: int
    cancelled: int
    left: int


class ForecastOut(Shown):
    """When nothing changes: batches ahead of the next one, when that is called, when all is done, why it waits."""

    position: int
    starts_at: str | None = None
    finishes_at: str | None = None
    waits_for: (
        Literal[
            "ahead",
            "window",
            "pace",
            "paused",
            "concurrency",
            "answer",
            "backoff",
            "closed",
            "cost",
            "unserved",
        ]
        | None
    ) = None
    quota: str | None = Field(
        default=None, description="Which quota it waits for, where it is one."
    )


class IngestionOut(Shown):
    model_config = _example(examples.INGESTION)
    ingestion_id: str
    source: str
    priority: PriorityName
    status: Status
    counts: CountsOut
    batch_count: int
    batch_size: int
    accepted_at: str
    ended_at: str | None = None
    cancelled_at: str | None = None
    forecast: ForecastOut | None = None


class IngestionPage(Shown):
    """Ingestions, newest first; `next_page` is null on the last page."""

    model_config = _example({"ingestions": [examples.INGESTION], "next_page": None})
    ingestions: list[IngestionOut]
    next_page: str | None = None


class BatchOut(Shown):
    batch_id: str
    number: int
    ids: list[IdValue]
    status: Status
    attempt: int | None = None
    in_flight: bool = False
    not_before: str | None = Field(default=None, description="It waits for a retry until then.")
    reason: str | None = Field(default=None, description="What went wrong last.")
    triggered_at: str | None = None
    ended_at: str | None = None


class BatchPage(Shown):
    model_config = _example({"batches": [examples.BATCH], "next_page": None})
    batches: list[BatchOut]
    next_page: str | None = None


class RecordOut(Shown):
    """`record` is the source's own JSON; it is null for an id that is missing or failed."""

    id: IdValue
    position: int
    ending: Ending
    record: Any = None
    reason: str | None = None
    ended_at: str


class RecordPage(Shown):
    model_config = _example({"records": [examples.RECORD], "next_page": None})
    records: list[RecordOut]
    next_page: str | None = None


class CancelOut(Shown):
    """The ingestion after the cancellation; its status is `cancelled` once nothing is in flight."""

    model_config = _example(
        {"in_flight": 0, "ingestion": {**examples.INGESTION, "status": "cancelled"}}
    )
    in_flight: int
    ingestion: IngestionOut


class WindowOut(Shown):
    """`used` of `limit` within any `span`; what is out counts as used."""

    limit: int
    span: str
    used: int


class QuotaOut(Shown):
    name: str
    pacing: str
    windows: list[WindowOut]
    blocked_until: str | None = None


class QueueOut(Shown):
    """Ingestions with batches to begin, those batches, begun ones in the line, and those that back off."""

    ingestions: int
    waiting: int
    ready: int
    backing_off: int


class SourceOut(Shown):
    name: str
    type: str | None = Field(
        default=None, description="null: this process's configuration does not name it."
    )
    default: bool
    state: Literal["open", "paused", "closed"]
    reason: str | None = None
    quota: list[str] = Field(description="The windows of its own quota.")
    quotas: list[QuotaOut] = Field(description="Every quota that it is charged to, with its usage.")
    batch_size: int
    concurrency: int
    in_flight: int
    queue: QueueOut
    latency: str | None = Field(
        default=None, description="The median of the last 20 calls; null: none was answered yet."
    )
    next_slot_in_us: int | None = Field(
        default=None,
        description="0: a call can be granted now; null: never, since it costs more than a window holds.",
    )
    next_slot_at: str | None = None
    usable_share: float | None = Field(
        default=None, description="How much of the quota the rule lets through at this latency."
    )
    hint: str | None = Field(default=None, description="The setting that would win the rest back.")
    now: str


class WorkerOut(Shown):
    worker: str
    state: Literal["working", "lost"] = Field(
        description="lost: it was killed, or nothing was heard of it; what it held is taken back."
    )
    host: str
    pid: int
    version: str
    sources: list[str] = Field(description="Those that it calls.")
    holds: int = Field(description="Batches that it has claimed and not settled.")
    started_at: str
    seen_at: str = Field(
        description="On SQLite when it started: there it is known without a sign of life."
    )


class WorkerList(Shown):
    model_config = _example({"workers": [examples.WORKER]})
    workers: list[WorkerOut]


class SourceList(Shown):
    model_config = _example({"sources": [examples.SOURCE]})
    sources: list[SourceOut]


class CallOut(Shown):
    """One call; the ingestion is named only if it is the caller's own."""

    granted_at: str
    written_at: str | None = None
    in_flight: bool
    ingestion_id: str | None = None
    batch_id: str | None = None


class SourceDetail(SourceOut):
    """A source with its newest calls, newest first."""

    model_config = _example({**examples.SOURCE, "calls": [examples.CALL]})
    calls: list[CallOut]


class ProblemField(Shown):
    pointer: str
    detail: str
    code: str


class Problem(Shown):
    """Problem details (RFC 9457)."""

    model_config = _example(examples.PROBLEM)
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemField] | None = None
