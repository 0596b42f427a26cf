"""What tables come to as values: a source as the worker and the store take it, and its options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headgate.core.ids import IdRule, IdType
from headgate.core.model import CallRules, QuotaSpec, SourceSpec
from headgate.core.quota import Pacing, Window
from headgate.core.retry import RetryPolicy
from headgate.core.units import window
from headgate.settings.described.tables import (
    AnyTable,
    HttpTable,
    IdsTable,
    QuotaRead,
    SimulatedTable,
    SourceRead,
)
from headgate.sources.http_options import HttpOptions
from headgate.sources.request import url_template
from headgate.sources.simulated import SimulatedOptions

_SIMULATED_QUOTA = [window("1/5s")]
_BATCH_SIZE = CallRules().batch_size

Options = SimulatedOptions | HttpOptions


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """A source as configured: what every kind has, and the options of its kind."""

    spec: SourceSpec
    options: Options

    @property
    def type(self) -> str:
        return "http" if isinstance(self.options, HttpOptions) else "simulated"


def configured(source: SourceRead, cwd: Path) -> ConfiguredSource:
    """A source as configured; relative paths count from `cwd`."""
    table = source.table
    quota = QuotaSpec(source.name, tuple(own_windows(table)), Pacing(table.pacing))
    spec = SourceSpec(
        name=source.name,
        quota=quota,
        shares=tuple(table.shares),
        rules=rules_of(table),
        ids=_id_rule(table.ids),
        retry=_retry(table),
        was=table.was,
    )
    return ConfiguredSource(spec, _options(table, cwd))


def quota_spec(quota: QuotaRead) -> QuotaSpec:
    """A shared quota as the store takes it."""
    return QuotaSpec(quota.name, tuple(quota.table.windows), Pacing(quota.table.pacing))


def own_windows(table: AnyTable) -> list[Window]:
    """The simulated source is limited unless it is told otherwise, so that one sees what a quota does."""
    if table.quota is not None:
        return table.quota
    by_default = isinstance(table, SimulatedTable) and not table.shares
    return _SIMULATED_QUOTA if by_default else []


def rules_of(table: AnyTable) -> CallRules:
    """How a source may be called; a url that takes one id makes batches of one."""
    one = isinstance(table, HttpTable) and takes_one(table)
    return CallRules(
        concurrency=table.concurrency,
        call_cost=table.cost.call,
        id_cost=table.cost.id,
        batch_size=table.batch_size or (1 if one else _BATCH_SIZE),
        within_us=table.counted_within,
        slack_us=table.slack,
        grace_us=table.grace,
        lease_us=table.lease,
    )


def _id_rule(ids: IdsTable) -> IdRule:
    return IdRule(IdType(ids.type), ids.min, ids.max, ids.pattern)


def _retry(table: AnyTable) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=table.max_attempts,
        base_us=table.backoff,
        max_us=table.backoff_max,
        absent=table.absent == "retry",
        circuit_after=table.circuit_after,
        probe_us=table.probe,
        probe_max_us=table.probe_max,
    )


def _options(table: AnyTable, cwd: Path) -> Options:
    return _simulated(table, cwd) if isinstance(table, SimulatedTable) else http_options(table)


def _simulated(table: SimulatedTable, cwd: Path) -> SimulatedOptions:
    return SimulatedOptions(
        latency_us=table.latency,
        missing=table.missing,
        failing=table.failing,
        rejected=table.rejected,
        missing_rate=table.missing_rate,
        failure_rate=table.failure_rate,
        throttle_rate=table.throttle_rate,
        refuse=table.refuse,
        retry_after_us=table.retry_after,
        seed=table.seed,
        journal=None if table.journal is None else cwd / table.journal,
    )


def takes_one(table: HttpTable) -> bool:
    """Whether the url asks for a single id a call."""
    try:
        return url_template(table.url or "").one
    except ValueError:
        return False


def http_options(table: HttpTable) -> HttpOptions:
    """What the HTTP source is told; without a url it is none that works."""
    return HttpOptions(
        url=table.url or "",
        join=table.join,
        headers=table.headers,
        records=table.records,
        record_id=table.record_id,
        connect_us=table.connect_timeout,
        answer_us=table.answer_timeout,
        max_answer_bytes=table.max_answer,
    )
