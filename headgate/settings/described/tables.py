"""What a table may say, key by key, and how one was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from headgate.core.ids import IdRule
from headgate.core.model import CallRules
from headgate.core.retry import RetryPolicy
from headgate.settings.mistakes import Mistake
from headgate.settings.values import (
    Cost,
    Count,
    Duration,
    Headers,
    IdSet,
    Integer,
    Names,
    Pattern,
    Pause,
    PlainText,
    Positive,
    Rates,
    Share,
    Size,
)
from headgate.sources.http_options import HttpOptions
from headgate.sources.simulated import SimulatedOptions

_RULES, _RETRY, _ID_RULE = CallRules(), RetryPolicy(), IdRule()
_SIMULATED, _HTTP = SimulatedOptions(), HttpOptions(url="")


class Table(BaseModel):
    """Strict: `true` is no number, "5" no integer, and an unknown key is a mistake."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class QuotaTable(Table):
    windows: Rates = []
    pacing: Literal["even", "burst"] = "even"


class CostTable(Table):
    """What is left out costs nothing."""

    call: Cost = 0
    id: Cost = 0


class IdsTable(Table):
    type: Literal["integer", "text"] = "integer"
    min: Integer = _ID_RULE.min
    max: Integer = _ID_RULE.max
    pattern: Pattern | None = _ID_RULE.pattern


def _cost(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"call": value}
    if isinstance(value, Mapping | CostTable):
        return value
    raise ValueError("should be a whole number, or { call = 1, id = 1 }")


class SourceTable(Table):
    """What every kind of source may say."""

    quota: Rates | None = None
    shares: Names = []
    pacing: Literal["even", "burst"] = "even"
    batch_size: Count | None = None
    concurrency: Count = _RULES.concurrency
    cost: Annotated[CostTable, BeforeValidator(_cost)] = CostTable(
        call=_RULES.call_cost, id=_RULES.id_cost
    )
    counted_within: Duration | None = None
    slack: Positive = _RULES.slack_us
    grace: Duration = _RULES.grace_us
    lease: Positive = _RULES.lease_us
    ids: IdsTable = IdsTable()
    max_attempts: Count = _RETRY.max_attempts
    backoff: Positive = _RETRY.base_us
    backoff_max: Positive = _RETRY.max_us
    absent: Literal["missing", "retry"] = "missing"
    circuit_after: Count = _RETRY.circuit_after
    probe: Positive = _RETRY.probe_us
    probe_max: Positive = _RETRY.probe_max_us
    was: PlainText | None = None


class SimulatedTable(SourceTable):
    type: Literal["simulated"] = "simulated"
    counted_within: Duration | None = 0
    latency: Duration = _SIMULATED.latency_us
    missing: IdSet = _SIMULATED.missing
    failing: IdSet = _SIMULATED.failing
    rejected: IdSet = _SIMULATED.rejected
    missing_rate: Share = _SIMULATED.missing_rate
    failure_rate: Share = _SIMULATED.failure_rate
    throttle_rate: Share = _SIMULATED.throttle_rate
    refuse: bool = _SIMULATED.refuse
    retry_after: Pause = _SIMULATED.retry_after_us
    seed: Integer = _SIMULATED.seed
    journal: PlainText | None = None


class HttpTable(SourceTable):
    type: Literal["http"] = "http"
    url: PlainText | None = None
    join: PlainText = _HTTP.join
    headers: Headers = Field(default={}, repr=False)
    records: PlainText | None = _HTTP.records
    record_id: PlainText | None = _HTTP.record_id
    connect_timeout: Positive = _HTTP.connect_us
    answer_timeout: Positive = _HTTP.answer_us
    max_answer: Size = _HTTP.max_answer_bytes


AnyTable = SimulatedTable | HttpTable

KINDS: Mapping[str, type[AnyTable]] = {"simulated": SimulatedTable, "http": HttpTable}


T = TypeVar("T", bound=Table)
Given = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """A named table with defaults in place of what is wrong in it, and the mistakes."""

    name: str
    table: T
    mistakes: tuple[Mistake, ...] = ()

    def right(self, *keys: str) -> bool:
        """Whether none of these keys has a mistake, so that a check that looks at them makes sense."""
        return not any(mistake.keys[0] in keys for mistake in self.mistakes if mistake.keys)


SourceRead = Read[AnyTable]
QuotaRead = Read[QuotaTable]
