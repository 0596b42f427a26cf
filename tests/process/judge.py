"""The verdict on a run: by the source's own log, the clients' journals, the answers, and the rows of the database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tests.process.client import Journal
from tests.process.gate import Gate, Server
from tests.process.waiting import eventually
from tests.simulator import checker
from tests.simulator.checker import Accepted, Arrival, Leniency
from tests.simulator.process import RunningServer
from tests.simulator.server import record

LENIENCY = Leniency(lead_us=1_500_000)
"""A call may have been claimed so long before the source saw it: the slack of the tests, and a busy machine."""

DRAIN_S = 60.0

FORGOT = "has forgotten calls"
"""What a process says that knows better than the database."""


def ingestions(server: Server) -> list[dict[str, Any]]:
    """Everything that the server knows of."""
    found: list[dict[str, Any]] = []
    page = ""
    while True:
        answer = server.get(f"/v1/ingestions?limit=1000{page}")
        found += answer["ingestions"]
        if answer["next_page"] is None:
            return found
        page = f"&page={answer['next_page']}"


def drained(server: Server, *, within_s: float = DRAIN_S) -> list[dict[str, Any]]:
    """Wait until everything that the server knows of has ended; returns it."""
    found: list[dict[str, Any]] = []

    def all_ended() -> bool:
        found[:] = ingestions(server)
        return all(each["counts"]["left"] == 0 for each in found)

    eventually(all_ended, "everything has ended", within_s=within_s, every_s=0.05)
    return found


def records(server: Server, ingestion_id: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Every record of an ingestion, with the bytes of its line."""
    body = server.ask("GET", f"/v1/ingestions/{ingestion_id}/records?format=ndjson").body
    for line in body.splitlines():
        yield json.loads(line), line


def arrivals(source: RunningServer) -> list[Arrival]:
    return checker.load_arrivals(source.log) if source.log.exists() else []


def times_asked(source: RunningServer) -> Counter[str]:
    """How often the source was asked for each id."""
    return Counter(each for arrival in arrivals(source) for each in arrival.ids)


def assert_windows(source: RunningServer, *quotas: str, since_us: int = 0) -> None:
    """No window of these quotas is over at the source, from an instant on."""
    windows = [checker.parse_window(each) for each in quotas]
    found = [each for each in arrivals(source) if each.at_us >= since_us]
    report = checker.check(found, windows)
    assert report.good, f"\n{report}"


def assert_kept(
    gate: Gate,
    server: Server,
    source: RunningServer,
    journal: Journal,
    *quotas: str,
    leniency: Leniency = LENIENCY,
    cancelled: Sequence[str] = (),
    unjudged: Sequence[str] = (),
) -> str:
    """Everything accepted has ended once and is stored once, in order, and no window was over. Returns a summary.

    `cancelled`: ingestions that may have ended otherwise than by being fetched; `unjudged`: those whose order is not.
    """
    known = {each["ingestion_id"]: each for each in drained(server)}
    for each in journal.accepted(without=cancelled):
        assert each.ingestion_id in known, f"accepted and unknown: {each}"
        assert_stored_once(server, known[each.ingestion_id], each)
    told = journal.accepted()
    unknown = {each.ids for each in journal.cut} - {tuple(map(int, each.ids)) for each in told}
    assert len(known) <= len(told) + len(unknown), "more than was ever sent"
    asked = times_asked(source)
    for refused in journal.refused:
        assert not any(asked[str(each)] for each in refused.ids), f"refused and done: {refused}"
    assert not any(each.facts(FORGOT) for each in gate.servers), "nothing was put back here"
    rows = gate.stored()
    assert (rows.wrong, rows.held, rows.in_flight) == ((), (), 0)
    report = checker.check(
        arrivals(source),
        [checker.parse_window(each) for each in quotas],
        journal.accepted(without=[*cancelled, *unjudged]),
        leniency,
    )
    assert report.good, f"\n{report}"
    lost = checker.never_asked(arrivals(source), journal.accepted(without=cancelled))
    assert not lost
    return str(report)


def assert_stored_once(server: Server, shown: dict[str, Any], accepted: Accepted) -> None:
    """Each distinct id ended once, as the record that the source sent for it, and the counts say so."""
    distinct = len(accepted.ids)
    counts = shown["counts"]
    assert shown["status"] == "completed", shown
    assert (counts["distinct"], counts["fetched"], counts["begun"]) == (distinct,) * 3, shown
    found = list(records(server, accepted.ingestion_id))
    assert [str(each["id"]) for each, _ in found] == list(accepted.ids)
    for each, line in found:
        assert each["ending"] == "fetched"
        assert f'"record":{record(str(each["id"]))},"reason"'.encode() in line
