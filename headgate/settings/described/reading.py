"""From what was written to tables, and from tables to values: every mistake is noted with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from headgate.core.model import QuotaSpec
from headgate.settings.described.conflicts import (
    between_names,
    conflicts_of,
    misdescribed,
    unaffordable,
)
from headgate.settings.described.specs import ConfiguredSource, configured, quota_spec
from headgate.settings.described.tables import (
    KINDS,
    Given,
    QuotaRead,
    QuotaTable,
    Read,
    SourceRead,
    T,
)
from headgate.settings.mistakes import Mistake, validated
from headgate.settings.values import References

BUILT_IN = "simulated"
"""The source that is there when the file describes none."""

_KINDS_IN_WORDS = 'this version has "simulated" (the default) and "http"'
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Described:
    """What the tables of a file come to. Where there are mistakes, the rest is as good as it can be made out."""

    sources: tuple[ConfiguredSource, ...]
    quotas: tuple[QuotaSpec, ...]
    mistakes: tuple[Mistake, ...]


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
        tuple(configured(source, references.cwd) for source in sources),
        tuple(quota_spec(quota) for quota in quotas.values()),
        (
            *odd_sources,
            *odd_quotas,
            *(each.under("sources", source.name) for source in sources for each in source.mistakes),
            *(each.under("quotas", name) for name in quotas for each in quotas[name].mistakes),
            *between_names(sources, quotas),
            *(each for source in sources for each in unaffordable(source, quotas)),
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


def _read_quota(name: str, given: Given) -> QuotaRead:
    table, mistakes = validated(QuotaTable, given)
    quota = Read(name, table, tuple(mistakes))
    if table.windows or not quota.right("windows"):
        return quota
    return _with(quota, Mistake(("windows",), 'is missing: write one such as windows = ["100/s"]'))


def _read_source(name: str, given: Given, references: References) -> SourceRead:
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
    source: SourceRead = Read(name, table, (*of_type, *misplaced, *mistakes, *misdescribed(table)))
    conflicts = [
        Mistake(keys[:1], what) for keys, what in conflicts_of(table) if source.right(*keys)
    ]
    return _with(source, *conflicts)


def _with(read: Read[T], *mistakes: Mistake) -> Read[T]:
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


def _keys_of_another(kind: str) -> set[str]:
    others = {key for name in KINDS if name != kind for key in KINDS[name].model_fields}
    return others - KINDS[kind].model_fields.keys()
