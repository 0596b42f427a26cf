"""What does not go together, although each value alone is right."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from headgate.core.units import spoken_window
from headgate.settings.described.specs import http_options, own_windows, rules_of, takes_one
from headgate.settings.described.tables import (
    AnyTable,
    HttpTable,
    IdsTable,
    QuotaRead,
    SourceRead,
)
from headgate.settings.mistakes import Mistake, instead
from headgate.sources.http import mistakes_in

Conflict = tuple[tuple[str, ...], str]
"""The keys that were looked at, the one to blame first, and what is wrong."""


def conflicts_of(table: AnyTable) -> Iterator[Conflict]:
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
    if (table.batch_size or 1) > 1 and takes_one(table):
        yield (
            ("batch_size", "url"),
            "the url takes one {id} a call: leave batch_size out, or use {ids}",
        )


def misdescribed(table: AnyTable) -> Iterator[Mistake]:
    """What the source itself finds wrong with its description."""
    if isinstance(table, HttpTable):
        for mistake in mistakes_in(http_options(table)):
            key, _, what = mistake.partition(": ")
            if key != "url" or table.url is not None:
                yield Mistake((key,), what)


def between_names(
    sources: Collection[SourceRead], quotas: Mapping[str, QuotaRead]
) -> Iterator[Mistake]:
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


def _former_names(sources: Collection[SourceRead], present: Collection[str]) -> Iterator[Mistake]:
    former = [source.table.was for source in sources]
    for source in sources:
        place = ("sources", source.name, "was")
        if source.table.was in present:
            yield Mistake(
                place, f'"{source.table.was}" is still there: rename or remove one of them'
            )
        elif source.table.was is not None and former.count(source.table.was) > 1:
            yield Mistake(place, f'another source also was "{source.table.was}": keep one of them')


def unaffordable(source: SourceRead, quotas: Mapping[str, QuotaRead]) -> Iterator[Mistake]:
    """A call that costs more than a window holds could never be granted."""
    if not source.right("quota", "shares", "cost", "batch_size", "url"):
        return
    rules = rules_of(source.table)
    dearest = rules.cost(rules.batch_size)
    named = [(source.name, own_windows(source.table))]
    named += [(name, quotas[name].table.windows) for name in source.table.shares if name in quotas]
    for name, windows in named:
        for each in windows:
            if dearest > each.limit:
                what = (
                    f"a call for {rules.batch_size} ids costs up to {dearest}, which never fits"
                    f" {spoken_window(each)} of quota {name}: lower batch_size or cost"
                )
                yield Mistake(("sources", source.name, "cost"), what)
