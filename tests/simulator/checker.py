"""The independent checker: reads a source's own log and what clients were told, and says whether promises were kept.

    python tests/simulator/checker.py --log FILE --quota 1/5s [--journal FILE ...] [--kills FILE]

Standard library only, no line shared with headgate: it knows the promises, not how they are kept.

The log (server.py beside this file writes it): a line of JSON per request with `at_us` (first byte seen), `headers_us`
(headers complete; null: they never came), `answer_us` (when the answer may begin) and `ids`.
A client's journal: a line of JSON per accepted ingestion with `ingestion_id`, `ids`, `priority` (HIGH, MEDIUM, LOW),
`asked_us` (before the request was sent) and `answered_us` (after the answer came). Kills: a line with `at_us` each.
All instants are CLOCK_BOOTTIME of one host in microseconds. A last line without its end is left out: its writer died.

What is checked:
  windows  no half-open interval of length W holds more than N requests, by brute force: every request begins one.
           Twice: by the first byte, and by the complete headers. Every request counts, also a refused or cut one.
  lost     every accepted id was asked for at least once.
  order    of two ingestions of one priority, the one whose answer came before the other's request goes first: none of
           its ids is asked for the first time after the other's first call.
  passed   while an accepted ingestion of a higher priority has ids that were never asked for, no call is made for
           lower ones only, from `lead` after its answer on (a call may have been claimed before it was accepted).

Order is judged by ids that only one ingestion has. A batch whose worker was killed between claim and call comes again
only when its lease is over, and others rightly go before it meanwhile: calls from `lead` before a kill until `rescue`
after it are not held against anybody. Leave cancelled ingestions out of the journals.

It exits with 1 if a promise was broken, with 2 if it cannot read what it was given.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

PRIORITIES = ("HIGH", "MEDIUM", "LOW")
RHO = 0.001
"""By how much of W a window is kept longer, for clocks that run at different rates (docs/quota.md)."""
SHOWN = 20
UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "day": 86_400_000_000,
}


class Unreadable(Exception):
    """The log or a journal is not what it should be."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `n` requests in any interval of this length."""

    n: int
    us: int
    text: str = ""

    def __str__(self) -> str:
        return self.text or f"{self.n}/{self.us}us"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as the source saw it."""

    at_us: int
    ids: tuple[str, ...] = ()
    headers_us: int | None = None
    answer_us: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """An ingestion that a client was told is accepted."""

    ingestion_id: str
    ids: tuple[str, ...]
    priority: str
    asked_us: int
    answered_us: int


@dataclass(frozen=True, slots=True)
class Leniency:
    """Where order is not judged.

    `lead_us`: how long before its call a batch may have been claimed; `reorder_us`: how far two calls that are under
    way at once may change places (0 with concurrency 1); `rescue_us`: how long after a kill its batches may be held.
    """

    lead_us: int = 100_000
    reorder_us: int = 0
    kills: tuple[int, ...] = ()
    rescue_us: int = 20_000_000

    def excuses(self, call_us: int) -> bool:
        """Whether a batch that should have gone before this call may have been in the hands of a dead worker."""
        return any(
            kill - self.lead_us <= call_us <= kill + self.rescue_us + self.lead_us
            for kill in self.kills
        )


@dataclass(slots=True)
class Report:
    """`violations`: the broken promises, `lines`: what to read."""

    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.violations

    def add(self, promise: str, broken: Sequence[str], kept: str) -> None:
        self.violations += broken
        self.lines.append(f"{'BROKEN' if broken else 'kept  '}  {promise}: {kept}")
        self.lines += [f"          {each}" for each in broken[:SHOWN]]
        if len(broken) > SHOWN:
            self.lines.append(f"          ... and {len(broken) - SHOWN} more")

    def __str__(self) -> str:
        return "\n".join(self.lines)


# Windows


def windows_over(instants: Iterable[int], window: Window) -> list[tuple[int, int]]:
    """List (start, count) of every window [start, start + W) that begins with a request and holds more than N."""
    ordered = sorted(instants)
    counted = (
        (start, bisect_left(ordered, start + window.us) - index)
        for index, start in enumerate(ordered)
    )
    return [(start, count) for start, count in counted if count > window.n]


def closest(instants: Iterable[int], window: Window) -> int | None:
    """The shortest time from a request to the N-th after it; at least W where no window is over."""
    ordered = sorted(instants)
    return min((b - a for a, b in zip(ordered, ordered[window.n :], strict=False)), default=None)


def share_of_rate(instants: Iterable[int], windows: Sequence[Window]) -> float | None:
    """The mean rate from the first to the last request, as a share of the lowest N/W."""
    return _share(instants, min(window.n / window.us for window in windows))


def share_of_rule(
    instants: Iterable[int], windows: Sequence[Window], *, latency_us: float, rho: float = RHO
) -> float | None:
    """The same as a share of what a client may do that counts a call from its answer on, and W(1 + rho) from there."""
    return _share(
        instants, min(window.n / (window.us * (1 + rho) + latency_us) for window in windows)
    )


def mean_latency_us(arrivals: Sequence[Arrival]) -> float:
    """How long the source took from the first byte of a request until its answer could begin."""
    spans = [each.answer_us - each.at_us for each in arrivals if each.answer_us is not None]
    return fmean(spans) if spans else 0.0


def _share(instants: Iterable[int], rate_per_us: float) -> float | None:
    ordered = sorted(instants)
    if len(ordered) < 2 or ordered[-1] == ordered[0]:
        return None
    return (len(ordered) - 1) / (ordered[-1] - ordered[0]) / rate_per_us


# What was accepted


def never_asked(arrivals: Iterable[Arrival], accepted: Iterable[Accepted]) -> list[tuple[str, str]]:
    """List (ingestion, id) of every accepted id that no request had."""
    asked = {each for arrival in arrivals for each in arrival.ids}
    return [(one.ingestion_id, each) for one in accepted for each in one.ids if each not in asked]


@dataclass(frozen=True, slots=True)
class _Course:
    """When an ingestion's own ids were asked for: the first of them, and the last to have its first time."""

    ingestion: Accepted
    begun_us: int
    begun_all_us: int


def out_of_order(
    arrivals: Sequence[Arrival], accepted: Sequence[Accepted], leniency: Leniency = Leniency()
) -> list[tuple[str, str, int]]:
    """List (first, overtaker, by how many microseconds): for each ingestion the worst that overtook it."""
    courses = _courses(arrivals, accepted)
    found = []
    for priority in PRIORITIES:
        same = sorted(
            (each for each in courses if each.ingestion.priority == priority),
            key=lambda each: each.ingestion.asked_us,
        )
        earliest = _earliest_from(same, leniency)
        asked = [each.ingestion.asked_us for each in same]
        for first in same:
            later = earliest[bisect_right(asked, first.ingestion.answered_us)]
            if later and later.begun_us + leniency.reorder_us < first.begun_all_us:
                names = first.ingestion.ingestion_id, later.ingestion.ingestion_id
                found.append((*names, first.begun_all_us - later.begun_us))
    return found


def passed_over(
    arrivals: Sequence[Arrival], accepted: Sequence[Accepted], leniency: Leniency = Leniency()
) -> list[tuple[str, int]]:
    """List (ingestion, instant): the first call of lower priority only while this one had ids never asked for."""
    urgency = _urgency_by_id(accepted)
    lower: dict[str, list[int]] = {priority: [] for priority in PRIORITIES}
    for arrival in sorted(arrivals, key=lambda each: each.at_us):
        ranks = [urgency.get(each, 0) for each in arrival.ids]
        for rank in range(min(ranks, default=0)):
            if not leniency.excuses(arrival.at_us):
                lower[PRIORITIES[rank]].append(arrival.at_us)
    found = []
    for course in _courses(arrivals, accepted):
        calls = lower[course.ingestion.priority]
        at = bisect_right(calls, course.ingestion.answered_us + leniency.lead_us)
        if at < len(calls) and calls[at] + leniency.reorder_us < course.begun_all_us:
            found.append((course.ingestion.ingestion_id, calls[at]))
    return found


def _earliest_from(courses: Sequence[_Course], leniency: Leniency) -> list[_Course | None]:
    """For each place in the line: who began first of those from there on, kills not counted; None at the end."""
    earliest: list[_Course | None] = [None]
    for each in reversed(courses):
        before = earliest[-1]
        sooner = before is None or each.begun_us < before.begun_us
        earliest.append(each if sooner and not leniency.excuses(each.begun_us) else before)
    return earliest[::-1]


def _courses(arrivals: Sequence[Arrival], accepted: Sequence[Accepted]) -> list[_Course]:
    first: dict[str, int] = {}
    for arrival in sorted(arrivals, key=lambda each: each.at_us):
        for value in arrival.ids:
            first.setdefault(value, arrival.at_us)
    owners = Counter(value for each in accepted for value in set(each.ids))
    courses = []
    for each in accepted:
        own = [first[value] for value in each.ids if owners[value] == 1 and value in first]
        if own:
            courses.append(_Course(each, min(own), max(own)))
    return courses


def _urgency_by_id(accepted: Iterable[Accepted]) -> Mapping[str, int]:
    """0 is the highest; of an id that several ingestions have, the highest of theirs."""
    ranks: dict[str, int] = {}
    for each in accepted:
        rank = PRIORITIES.index(each.priority)
        for value in each.ids:
            ranks[value] = min(rank, ranks.get(value, rank))
    return ranks


# All of it


def check(
    arrivals: Sequence[Arrival],
    windows: Sequence[Window] = (),
    accepted: Sequence[Accepted] = (),
    leniency: Leniency = Leniency(),
) -> Report:
    """Check every promise that what was given allows to check."""
    report = Report()
    report.lines.append(_summary(arrivals, accepted))
    for window in windows:
        _check_window(report, arrivals, window)
    if windows:
        report.lines.append("        " + _use(arrivals, windows))
    if accepted:
        _check_accepted(report, arrivals, accepted, leniency)
    return report


def _summary(arrivals: Sequence[Arrival], accepted: Sequence[Accepted]) -> str:
    instants = [each.at_us for each in arrivals]
    span_s = (max(instants) - min(instants)) / 1e6 if instants else 0.0
    return f"{len(arrivals)} requests over {span_s:.3f} s; {len(accepted)} accepted ingestions"


def _check_window(report: Report, arrivals: Sequence[Arrival], window: Window) -> None:
    series = {
        "by the first byte": [each.at_us for each in arrivals],
        "by complete headers": [
            each.headers_us for each in arrivals if each.headers_us is not None
        ],
    }
    broken = [
        f"{count} requests within {window.us / 1e6:g} s from {start} on, {name}"
        for name, instants in series.items()
        for start, count in windows_over(instants, window)
    ]
    near = closest(series["by the first byte"], window)
    text = "never more at once" if near is None else f"closest {near / 1e6:.6f} s"
    report.add(f"quota {window}", broken, text)


def _use(arrivals: Sequence[Arrival], windows: Sequence[Window]) -> str:
    instants, latency_us = [each.at_us for each in arrivals], mean_latency_us(arrivals)
    rate = share_of_rate(instants, windows)
    rule = share_of_rule(instants, windows, latency_us=latency_us)
    if rate is None or rule is None:
        return "too few requests to say how much of the quota was used"
    return (
        f"used {rate:.2%} of the rate, {rule:.2%} of what the rule allows"
        f" at a latency of {latency_us / 1e3:.1f} ms"
    )


def _check_accepted(
    report: Report,
    arrivals: Sequence[Arrival],
    accepted: Sequence[Accepted],
    leniency: Leniency,
) -> None:
    count = sum(len(each.ids) for each in accepted)
    lost = [
        f"{one}: id {each} was never asked for" for one, each in never_asked(arrivals, accepted)
    ]
    report.add("nothing lost", lost, f"{count - len(lost)} of {count} accepted ids were asked for")
    courses = len(_courses(arrivals, accepted))
    order = [
        f"{first}: overtaken by {later}, accepted after it, by {by_us / 1e6:.6f} s"
        for first, later, by_us in out_of_order(arrivals, accepted, leniency)
    ]
    report.add("order", order, f"judged by {courses} ingestions with ids of their own")
    passed = [
        f"{one}: a call of lower priority at {at_us} while it had ids to ask for"
        for one, at_us in passed_over(arrivals, accepted, leniency)
    ]
    report.add("priority", passed, f"{len(leniency.kills)} kills taken into account")


# Reading


def parse_window(text: str) -> Window:
    """`1/5s`, `10/s`, `1/500ms`, `100000/day`."""
    match = re.fullmatch(r"(\d+)/(\d*)([a-z]+)", text)
    if match is None or match[3] not in UNITS_US or not int(match[1]) or match[2] == "0":
        raise argparse.ArgumentTypeError(f"not a quota: {text} (write it as 1/5s)")
    return Window(int(match[1]), int(match[2] or 1) * UNITS_US[match[3]], text)


def load_arrivals(path: Path) -> list[Arrival]:
    """Read a source's log."""
    return [_arrival(line) for line in _lines(path, "at_us")]


def load_accepted(paths: Iterable[Path]) -> list[Accepted]:
    """Read clients' journals."""
    wanted = ("ingestion_id", "ids", "priority", "asked_us", "answered_us")
    return [_accepted(line) for path in paths for line in _lines(path, *wanted)]


def load_kills(path: Path | None) -> tuple[int, ...]:
    """Read when workers were killed."""
    return tuple(line["at_us"] for line in _lines(path, "at_us")) if path else ()


def _arrival(line: Mapping[str, Any]) -> Arrival:
    ids = tuple(map(str, line.get("ids", ())))
    return Arrival(line["at_us"], ids, line.get("headers_us"), line.get("answer_us"))


def _accepted(line: Mapping[str, Any]) -> Accepted:
    if line["priority"] not in PRIORITIES or line["answered_us"] < line["asked_us"]:
        raise Unreadable(f"not an accepted ingestion: {line}")
    ids = tuple(dict.fromkeys(map(str, line["ids"])))
    return Accepted(
        str(line["ingestion_id"]), ids, line["priority"], line["asked_us"], line["answered_us"]
    )


def _lines(path: Path, *wanted: str) -> Iterator[dict[str, Any]]:
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    for number, text in enumerate(whole[: whole.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not _well_formed(line, wanted):
            raise Unreadable(f"{path}:{number}: not a line with {', '.join(wanted)}")
        yield line


def _well_formed(line: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    whole = all(line.get(name) is not None for name in wanted)
    instants = (value for name, value in line.items() if name.endswith("_us"))
    return whole and all(value is None or type(value) is int for value in instants)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, check, print; 0 kept, 1 broken, 2 unreadable."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--log", type=Path, required=True, help="the source's own log")
    parser.add_argument("--quota", type=parse_window, action="append", default=[], metavar="N/W")
    parser.add_argument("--journal", type=Path, action="append", default=[], help="of a client")
    parser.add_argument("--kills", type=Path, help="when workers were killed")
    parser.add_argument("--lead-ms", type=float, default=100.0)
    parser.add_argument("--reorder-ms", type=float, default=0.0)
    parser.add_argument("--rescue-ms", type=float, default=20_000.0)
    flags = parser.parse_args(arguments)
    try:
        leniency = Leniency(
            lead_us=int(flags.lead_ms * 1_000),
            reorder_us=int(flags.reorder_ms * 1_000),
            kills=load_kills(flags.kills),
            rescue_us=int(flags.rescue_ms * 1_000),
        )
        arrivals, accepted = load_arrivals(flags.log), load_accepted(flags.journal)
    except Unreadable as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    report = check(arrivals, flags.quota, accepted, leniency)
    sys.stdout.write(f"{report}\n")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
