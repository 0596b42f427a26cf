"""The `[sources.*]` and `[quotas.*]` tables of headgate.toml: what they may say, and what they come to as values.

Used by settings.py alone. What each key means is in docs/configuration.md; defaults are those of the core.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from headgate.core.ids import IdRule, IdType
from headgate.core.model import CallRules, QuotaSpec, SourceSpec
from headgate.core.quota import Pacing, Window
from headgate.core.retry import RetryPolicy
from headgate.core.units import spoken_window, window
from headgate.settings.mistakes import Mistake, instead, validated
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
    References,
    Share,
    Size,
)
from headgate.sources.http import mistakes_in
from headgate.sources.http_options import HttpOptions
from headgate.sources.request import url_template
from headgate.sources.simulated import SimulatedOptions

BUILT_IN = "simulated"
"""The source that is there when the file describes none."""

_RULES, _RETRY, _ID_RULE = CallRules(), RetryPolicy(), IdRule()
_SIMULATED, _HTTP = SimulatedOptions(), HttpOptions(url="")
_SIMULATED_QUOTA = [window("1/5s")]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Options = SimulatedOptions | HttpOptions


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """A source as configured: what every kind has, and the options of its kind."""

    spec: SourceSpec
    options: Options

    @property
    def type(self) -> str:
        return "http" if isinstance(self.options, HttpOptions) else "simulated"


@dataclass(frozen=True, slots=True)
class Described:
    """What the tables of a file come to. Where there are mistakes, the rest is as good as it can be made out."""

    sources: tuple[ConfiguredSource, ...]
    quotas: tuple[QuotaSpec, ...]
    mistakes: tuple[Mistake, ...]


# --- what a table may say ------------------------------------------------------------------------


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


# --- from what was written to tables -------------------------------------------------------------

T = TypeVar("T", bound=Table)
Given = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    """A named table with defaults in place of what is wrong in it, and the mistakes."""

    name: str
    table: T
    mistakes: tuple[Mistake, ...] = ()

    def right(self, *keys: str) -> bool:
        """Whether none of these keys has a mistake, so that a check that looks at them makes sense."""
        return not any(mistake.keys[0] in keys for mistake in self.mistakes if mistake.keys)


_Source = _Read[AnyTable]
_Quota = _Read[QuotaTable]


def described(tables: Given, references: References) -> Described:
    """Read the sources and shared quotas of a file; where it has no source there is the built-in one."""
    named_sources, odd_sources = _named(tables, "sources")
    named_quotas, odd_quotas = _named(tables, "quotas")
    sources = [
        _read_source(name, given, references)
        for name, given in (named_sources or {BUILT_IN: {}}).items()
    ]
    quotas = {name: _read_quota(name, given) for name, given in named_quotas.items()}
    return Described(
        tuple(_configured(source, references.cwd) for source in sources),
        tuple(_quota_spec(quota) for quota in quotas.values()),
        (
            *odd_sources,
            *odd_quotas,
            *(each.under("sources", source.name) for source in sources for each in source.mistakes),
            *(each.under("quotas", name) for name in quotas for each in quotas[name].mistakes),
            *_between_names(sources, quotas),
            *(each for source in sources for each in _unaffordable(source, quotas)),
        ),
    )


def _named(tables: Given, kind: str) -> tuple[dict[str, Given], list[Mistake]]:
    """The tables `[kind.NAME]` by name, and what is wrong with a name or is no table."""
    given = tables.get(kind, {})
    if not isinstance(given, Mapping):
        return {}, [Mistake((kind,), f"should be tables: [{kind}.NAME]")]
    mistakes = [
        Mistake((kind, name), "is no name: letters, digits, _ and -, at most 64 of them")
        for name in given
        if not _NAME.fullmatch(name)
    ]
    for name, table in given.items():
        if not isinstance(table, Mapping):
            mistakes.append(Mistake((kind, name), f"should be a table: [{kind}.{name}]"))
    return {n: table if isinstance(table, Mapping) else {} for n, table in given.items()}, mistakes


def _read_quota(name: str, given: Given) -> _Quota:
    table, mistakes = validated(QuotaTable, given)
    quota = _Read(name, table, tuple(mistakes))
    if table.windows or not quota.right("windows"):
        return quota
    return _with(quota, Mistake(("windows",), 'is missing: write one such as windows = ["100/s"]'))


def _read_source(name: str, given: Given, references: References) -> _Source:
    kind, of_type = _kind(given)
    foreign = given.keys() & _keys_of_another(kind)
    aside = foreign | {mistake.keys[0] for mistake in of_type if mistake.keys}
    own = {key: value for key, value in given.items() if key not in aside}
    table, mistakes = validated(KINDS[kind], own, context=references)
    misplaced = [
        Mistake(
            (key,), f'is a key of another type of source than "{kind}": remove it or name its type'
        )
        for key in sorted(foreign)
    ]
    source: _Source = _Read(name, table, (*of_type, *misplaced, *mistakes, *_misdescribed(table)))
    conflicts = [Mistake(keys[:1], what) for keys, what in _conflicts(table) if source.right(*keys)]
    return _with(source, *conflicts)


def _with(read: _Read[T], *mistakes: Mistake) -> _Read[T]:
    return replace(read, mistakes=(*read.mistakes, *mistakes))


def _kind(given: Given) -> tuple[str, list[Mistake]]:
    """The kind of a source; what is no kind is taken for the one that it looks like."""
    likely = "http" if "url" in given else "simulated"
    match given.get("type"):
        case None if likely == "simulated":
            return likely, []
        case None:
            return likely, [Mistake((), 'has a url and no type: add type = "http"')]
        case str(kind) if kind in KINDS:
            return kind, []
        case "python":
            return likely, [Mistake(("type",), f'"python" is not there yet: {_KINDS_IN_WORDS}')]
        case _:
            return likely, [Mistake(("type",), _KINDS_IN_WORDS)]


_KINDS_IN_WORDS = 'this version has "simulated" (the default) and "http"'


def _keys_of_another(kind: str) -> set[str]:
    others = {key for name in KINDS if name != kind for key in KINDS[name].model_fields}
    return others - KINDS[kind].model_fields.keys()


# --- what does not go together -------------------------------------------------------------------

Conflict = tuple[tuple[str, ...], str]
"""The keys that were looked at, the one to blame first, and what is wrong."""


def _conflicts(table: AnyTable) -> Iterator[Conflict]:
    """What is wrong with a source by itself, although each value alone is right."""
    if table.lease <= table.slack:
        yield ("lease", "slack"), "should be longer than slack, in which its call may still begin"
    if table.backoff_max < table.backoff:
        yield ("backoff_max", "backoff"), "should not be less than backoff"
    if table.probe_max < table.probe:
        yield ("probe_max", "probe"), "should not be less than probe"
    if not table.cost.call and not table.cost.id:
        yield ("cost",), "a call should cost at least 1"
    if len(set(table.shares)) < len(table.shares):
        yield ("shares",), "names a quota twice"
    yield from _conflicts_of_ids(table.ids)
    if isinstance(table, HttpTable):
        yield from _conflicts_of_http(table)


def _conflicts_of_ids(ids: IdsTable) -> Iterator[Conflict]:
    if ids.min > ids.max:
        yield ("ids",), "min is greater than max"
    if ids.type == "integer" and ids.pattern is not None:
        yield ("ids",), 'a pattern is for texts: add type = "text"'
    if ids.type == "text" and ids.model_fields_set & {"min", "max"}:
        yield ("ids",), "min and max are for integers: texts take a pattern"


def _conflicts_of_http(table: HttpTable) -> Iterator[Conflict]:
    if table.url is None:
        yield ("url",), 'is missing: write one such as "https://api.example.com/items{?ids}"'
    if table.quota is None and not table.shares:
        yield (
            ("quota", "shares"),
            'is missing: write how often it may be called, such as ["10/s"], or [] for no limit',
        )
    if (table.batch_size or 1) > 1 and _takes_one(table):
        yield (
            ("batch_size", "url"),
            "the url takes one {id} a call: leave batch_size out, or use {ids}",
        )


def _takes_one(table: HttpTable) -> bool:
    """Whether the url asks for a single id a call."""
    try:
        return url_template(table.url or "").one
    except ValueError:
        return False


def _misdescribed(table: AnyTable) -> Iterator[Mistake]:
    """What the source itself finds wrong with its description."""
    if isinstance(table, HttpTable):
        for mistake in mistakes_in(_http(table)):
            key, _, what = mistake.partition(": ")
            if key != "url" or table.url is not None:
                yield Mistake((key,), what)


def _between_names(sources: Collection[_Source], quotas: Mapping[str, _Quota]) -> Iterator[Mistake]:
    """What is wrong with the names that sources and quotas have and call each other by."""
    names = [source.name for source in sources]
    for name in sorted(quotas.keys() & set(names)):
        yield Mistake(("quotas", name), "a source has this name, and its own quota with it: rename")
    for source in sources:
        for quota in source.table.shares:
            if quota not in quotas:
                what = f"there is no [quotas.{quota}]; {instead(quota, quotas)}"
                yield Mistake(("sources", source.name, "shares"), what)
    yield from _former_names(sources, {*names, *quotas})


def _former_names(sources: Collection[_Source], present: Collection[str]) -> Iterator[Mistake]:
    former = [source.table.was for source in sources]
    for source in sources:
        place = ("sources", source.name, "was")
        if source.table.was in present:
            yield Mistake(
                place, f'"{source.table.was}" is still there: rename or remove one of them'
            )
        elif source.table.was is not None and former.count(source.table.was) > 1:
            yield Mistake(place, f'another source also was "{source.table.was}": keep one of them')


def _unaffordable(source: _Source, quotas: Mapping[str, _Quota]) -> Iterator[Mistake]:
    """A call that costs more than a window holds could never be granted."""
    if not source.right("quota", "shares", "cost", "batch_size", "url"):
        return
    rules = _rules(source.table)
    dearest = rules.cost(rules.batch_size)
    named = [(source.name, _own_windows(source.table))]
    named += [(name, quotas[name].table.windows) for name in source.table.shares if name in quotas]
    for name, windows in named:
        for each in windows:
            if dearest > each.limit:
                what = (
                    f"a call for {rules.batch_size} ids costs up to {dearest}, which never fits"
                    f" {spoken_window(each)} of quota {name}: lower batch_size or cost"
                )
                yield Mistake(("sources", source.name, "cost"), what)


# --- from tables to values -----------------------------------------------------------------------


def _configured(source: _Source, cwd: Path) -> ConfiguredSource:
    table = source.table
    quota = QuotaSpec(source.name, tuple(_own_windows(table)), Pacing(table.pacing))
    spec = SourceSpec(
        name=source.name,
        quota=quota,
        shares=tuple(table.shares),
        rules=_rules(table),
        ids=_id_rule(table.ids),
        retry=_retry(table),
        was=table.was,
    )
    return ConfiguredSource(spec, _options(table, cwd))


def _quota_spec(quota: _Quota) -> QuotaSpec:
    return QuotaSpec(quota.name, tuple(quota.table.windows), Pacing(quota.table.pacing))


def _own_windows(table: AnyTable) -> list[Window]:
    """The simulated source is limited unless it is told otherwise, so that one sees what a quota does."""
    if table.quota is not None:
        return table.quota
    by_default = isinstance(table, SimulatedTable) and not table.shares
    return _SIMULATED_QUOTA if by_default else []


def _rules(table: AnyTable) -> CallRules:
    one = isinstance(table, HttpTable) and _takes_one(table)
    return CallRules(
        concurrency=table.concurrency,
        call_cost=table.cost.call,
        id_cost=table.cost.id,
        batch_size=table.batch_size or (1 if one else _RULES.batch_size),
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
    return _simulated(table, cwd) if isinstance(table, SimulatedTable) else _http(table)


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


def _http(table: HttpTable) -> HttpOptions:
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
