"""The shapes of /v1: allow-lists of what is shown, strict about what is taken. Instants are RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headgate.core.model import Ending, Status


def instant(us: int) -> str:
    """Wall time in microseconds as people see it."""
    seconds, rest = divmod(us, 1_000_000)
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
    Field(
        description="An integer within ±(2^63−1), or a text of at most 256 characters, as the source takes."
    ),
]


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

    detail: list[SeedMistake]


class SeedError(Shown):
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
    starts_at: str | None
    finishes_at: str | None
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
        ]
        | None
    )
    quota: str | None = Field(description="Which quota it waits for, where it is one.")


class IngestionOut(Shown):
    ingestion_id: str
    source: str
    priority: PriorityName
    status: Status
    counts: CountsOut
    batch_count: int
    batch_size: int
    accepted_at: str
    ended_at: str | None
    cancelled_at: str | None
    forecast: ForecastOut | None = None


class IngestionPage(Shown):
    """Ingestions, newest first; `next_page` is null on the last page."""

    ingestions: list[IngestionOut]
    next_page: str | None


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
    batches: list[BatchOut]
    next_page: str | None


class RecordOut(Shown):
    """`record` is the source's own JSON; it is null for an id that is missing or failed."""

    id: IdValue
    position: int
    ending: Ending
    record: Any = None
    reason: str | None = None
    ended_at: str


class RecordPage(Shown):
    records: list[RecordOut]
    next_page: str | None


class CancelOut(Shown):
    """The ingestion after the cancellation; its status is `cancelled` once nothing is in flight."""

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
    blocked_until: str | None


class QueueOut(Shown):
    """Ingestions with batches to begin, those batches, begun ones in the line, and those that back off."""

    ingestions: int
    waiting: int
    ready: int
    backing_off: int


class SourceOut(Shown):
    name: str
    type: str | None = Field(description="null: this process's configuration does not name it.")
    default: bool
    state: Literal["open", "paused", "closed"]
    reason: str | None
    quota: list[str] = Field(description="The windows of its own quota.")
    quotas: list[QuotaOut] = Field(description="Every quota that it is charged to, with its usage.")
    batch_size: int
    concurrency: int
    in_flight: int
    queue: QueueOut
    latency: str
    next_slot_in_us: int | None = Field(
        description="0: a call can be granted now; null: never, since it costs more than a window holds."
    )
    next_slot_at: str | None
    usable_share: float = Field(
        description="How much of the quota the rule lets through at this latency."
    )
    hint: str | None = Field(description="The setting that would win the rest back.")
    now: str


class SourceList(Shown):
    sources: list[SourceOut]


class CallOut(Shown):
    """One call; the ingestion is named only if it is the caller's own."""

    granted_at: str
    written_at: str | None
    in_flight: bool
    ingestion_id: str | None
    batch_id: str | None


class SourceDetail(SourceOut):
    """A source with its newest calls, newest first."""

    calls: list[CallOut]


class ProblemField(Shown):
    pointer: str
    detail: str
    code: str


class Problem(Shown):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemField] | None = None
