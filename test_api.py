"""Check the public two-endpoint contract from outside, against a running server.

Standard library only; about a minute on the default server. Exit code: 0 all ran and passed; 1 a
check failed; 2 no server, no permission or usage; 3 what ran has passed, but something was skipped
(its line says why: as a rule, the queue is busy).
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import itertools
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

DEADLINE_S = 10.0  # of any single request
POLL_S = 0.075  # between two looks at /status
FLUSH_S = 0.05  # a begin may be seen so much later than its grant was made: the commit's flush
BIGGEST = 2**63 - 1
RANK = {"yet_to_start": 0, "triggered": 1, "completed": 2, "failed": 2, "cancelled": 2}
UNIT_S = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "day": 86400}


class Stop(Exception):
    """The run cannot go on: no server there, no permission, a wrong address."""


class Broken(Exception):
    """An answer is not what the contract says; the message says how."""


# --- the server -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and when it was asked for and had; status 0: none came, `body` says why."""

    status: int
    body: bytes
    asked_at: float
    had_at: float

    def document(self) -> dict[str, Any]:
        """Give the JSON object of the body; an empty one if it is anything else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        # a bare list is an object with one list, which is how /v1/sources may come
        return found if isinstance(found, dict) else {"": found}

    def __str__(self) -> str:
        text = " ".join(self.body[:100].decode(errors="replace").split())
        return f"{self.status or 'no answer'} {text}".strip()


class AsAnswered(urllib.request.HTTPErrorProcessor):
    """Give every answer as it is: no exception, and no redirect that would take the key along."""

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        return response

    https_response = http_response


class Api:
    """The server under test; each request is sent once, on a connection of its own."""

    def __init__(self, base_url: str, key: str | None) -> None:
        host = host_in(base_url)
        if not host:
            raise Stop(f"--base-url {base_url!r} is no address: write http://host:port")
        self.base_url, self.loopback = base_url.rstrip("/"), is_loopback(host)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        # a proxy named in the environment has another loopback than we
        proxies = [urllib.request.ProxyHandler({})] if self.loopback else []
        self._opener = urllib.request.build_opener(AsAnswered, *proxies)

    def ask(self, path: str, body: bytes | None = None) -> Reply:
        """GET, or POST where there is a body; raise Stop if nobody listens."""
        headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
        request = urllib.request.Request(self.base_url + path, body, headers)
        asked_at = time.monotonic()
        try:
            with self._opener.open(request, timeout=DEADLINE_S) as response:
                status, answer = response.status, read(response, asked_at + DEADLINE_S)
        except (OSError, http.client.HTTPException) as error:
            # URLError: it failed before an answer was waited for; cut while sending is an answer
            cause = error.reason if isinstance(error, urllib.error.URLError) else None
            if cause and not isinstance(cause, BrokenPipeError | ConnectionResetError):
                hint = "is it running? start it with: make run"
                raise Stop(f"no server at {self.base_url} ({cause}): {hint}") from error
            status, answer = 0, repr(cause or error).encode()
        return Reply(status, answer, asked_at, time.monotonic())


def read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read to the end, not past the deadline: a socket's time-out starts anew with each piece."""
    pieces = []
    while piece := response.read1(65536):
        pieces.append(piece)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    return b"".join(pieces)


def host_in(base_url: str) -> str | None:
    try:
        parts = urllib.parse.urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:  # also of a port that is no number
        return None
    return parts.hostname if usable else None


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- the report -----------------------------------------------------------------------------------


class Report:
    """One line per check, with the seconds since the line before it; at the end the sum."""

    def __init__(self) -> None:
        self.counts = {"ok": 0, "FAIL": 0, "skipped": 0}
        self._began_at = self._line_at = self._told_at = time.monotonic()
        self._wipe = "\r\033[K" if sys.stdout.isatty() else ""

    def judge(self, check: str, faults: Iterable[str], note: str = "") -> None:
        """Print FAIL with the first faults, or ok with the note where there is none."""
        found = list(dict.fromkeys(faults))
        more = f" (and {len(found) - 2} more)" if len(found) > 2 else ""
        self._line("FAIL" if found else "ok", check, "; ".join(found[:2]) + more or note)

    def skip(self, check: str, why: str) -> None:
        self._line("skipped", check, why)

    def progress(self, text: str) -> None:
        """Say what is waited for: in place on a terminal, else a line every five seconds."""
        now = time.monotonic()
        if now - max(self._told_at, self._line_at) > (1 if self._wipe else 5):
            self._told_at = now
            line = f"{self._wipe}         ... {text} ({now - self._line_at:.0f} s)"
            print(line, end="" if self._wipe else "\n", flush=True)

    def end(self) -> int:
        ok, failed, skipped = self.counts.values()
        code = 1 if failed else 3 if skipped else 0
        spent = f"{time.monotonic() - self._began_at:.0f} s"
        print(f"\n{ok} ok, {failed} failed, {skipped} skipped in {spent}: exit code {code}")
        return code

    def _line(self, word: str, check: str, note: str) -> None:
        now = time.monotonic()
        line = f"{word:<8} {check:<54} {now - self._line_at:6.2f} s  {note}"
        print(self._wipe + line.rstrip(), flush=True)
        self.counts[word] += 1
        self._line_at = now


# --- what the server limits -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """At most so many calls in so many seconds."""

    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Source:
    """The default source as `GET /v1/sources` shows it; None where that does not say."""

    simulated: bool | None = None
    batch_size: int = 3
    windows: tuple[Window, ...] = (Window(1, 5.0),)
    waiting: int | None = None
    in_flight: int | None = None
    next_slot_us: int | None = None

    @property
    def window(self) -> Window:
        """The shortest, which sets the pace; one of no length if there is no quota we know."""
        return min(self.windows or [Window(1, 0.0)], key=lambda each: each.seconds)

    @property
    def slot_s(self) -> float:
        return self.window.seconds / self.window.calls


def window_from(text: object) -> Window:
    found = re.fullmatch(r"([1-9]\d*)/(\d*\.?\d*)([a-z]+)", str(text).replace(" ", ""))
    if not found or found[3] not in UNIT_S:
        raise Broken(f"no quota: {text!r}")
    return Window(int(found[1]), float(found[2] or 1) * UNIT_S[found[3]])


def source_from(row: dict[str, Any]) -> Source:
    """Read what is there and leave out what is not: this route may grow."""
    queue = row.get("queue")
    try:
        windows = tuple(window_from(each) for each in row.get("quota", ["1/5s"]))
    except (Broken, ValueError, TypeError):
        windows = ()
    return Source(
        simulated=row["type"] == "simulated" if "type" in row else None,
        batch_size=number(row.get("batch_size")) or 3,
        windows=windows,
        waiting=number(queue.get("waiting")) if isinstance(queue, dict) else None,
        in_flight=number(row.get("in_flight")),
        next_slot_us=number(row.get("next_slot_in_us")),
    )


def default_source(document: dict[str, Any]) -> Source | None:
    """Find the source that /ingest goes to, in the first list there is."""
    rows = next((each for each in document.values() if isinstance(each, list)), [])
    chosen = [row for row in rows if isinstance(row, dict) and row.get("default") is True] or rows
    only = chosen[0] if len(chosen) == 1 else None
    return source_from(only) if isinstance(only, dict) else None


def number(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


# --- following an ingestion -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch in one answer of /status."""

    id: str
    ids: tuple[object, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Begin:
    """A batch left `yet_to_start` within (after, by]: polling cannot say it more exactly."""

    ids: tuple[object, ...]
    after: float
    by: float
    ended_by: float | None = None


def batch_from(row: object) -> Batch:
    if not isinstance(row, dict) or set(row) != {"batch_id", "ids", "status"}:
        raise Broken(f"a batch is {row!r:.80}")
    if not isinstance(row["ids"], list) or str(row["status"]) not in RANK:
        raise Broken(f"a batch has ids {row['ids']!r:.40} and status {row['status']!r:.40}")
    return Batch(str(row["batch_id"]), tuple(row["ids"]), row["status"])


def status_from(batches: Iterable[Batch]) -> str:
    """Say what an ingestion must be when its batches are so."""
    found = {batch.status for batch in batches}
    if len(found) > 1 and found & {"yet_to_start", "triggered"}:
        return "triggered"
    return next(word for word in ("cancelled", "failed", *RANK) if word in found)


def is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


class Ingestion:
    """One of ours: when its batches began and ended, and what any answer about it broke."""

    def __init__(self, api: Api, reply: Reply, ids: Sequence[int], batch_size: int) -> None:
        self.id = str(reply.document()["ingestion_id"])
        self.asked_at, self.had_at = reply.asked_at, reply.had_at
        self.batches: tuple[Batch, ...] = ()
        self.begins: dict[int, Begin] = {}
        self.faults: dict[str, list[str]] = {"shape": [], "ids": [], "same": [], "forward": []}
        self._api, self._ids, self._size = api, list(ids), batch_size
        self._looked_at = reply.asked_at

    @property
    def open_batches(self) -> int:
        return len(self.batches) - sum(each.ended_by is not None for each in self.begins.values())

    @property
    def begun(self) -> bool:
        return 0 < len(self.batches) == len(self.begins)

    @property
    def ended(self) -> bool:
        return self.begun and not self.open_batches

    def look(self) -> None:
        """Ask once, and hold the answer against the contract and against the answers before."""
        reply = self._api.ask(f"/status/{urllib.parse.quote(self.id, safe='')}")
        try:
            batches = self._batches_in(reply)
        except Broken as broken:
            self.faults["shape"].append(str(broken))
            return
        if not self.batches:
            self._judge_first(batches)
        elif [(each.id, each.ids) for each in batches] != [(b.id, b.ids) for b in self.batches]:
            self.faults["same"].append("batches changed between two answers")
        self._note_moves(batches, reply)
        self.batches, self._looked_at = batches, reply.asked_at

    def calls(self) -> list[Begin]:
        """Leave out batches of nothing but repeats: they end with the first, without a call."""
        before: set[object] = set()
        found = []
        for _, begin in sorted(self.begins.items()):
            if not before.issuperset(begin.ids):
                found.append(begin)
            before.update(begin.ids)
        return found

    def _batches_in(self, reply: Reply) -> tuple[Batch, ...]:
        answer = reply.document()
        if reply.status != 200 or set(answer) != {"ingestion_id", "status", "batches"}:
            raise Broken(f"/status gave {reply}")
        if answer["ingestion_id"] != self.id or not isinstance(answer["batches"], list):
            raise Broken(f"/status gave {reply}")
        batches = tuple(batch_from(row) for row in answer["batches"])
        if not batches:
            raise Broken("no batches")
        if answer["status"] != status_from(batches):
            words = ", ".join(batch.status for batch in batches)
            self.faults["forward"].append(f"{answer['status']!r:.40}, but its batches are {words}")
        return batches

    def _judge_first(self, batches: tuple[Batch, ...]) -> None:
        shown = [list(batch.ids) for batch in batches]
        # repr, since 1, 1.0 and true are equal to Python, but not to a client
        same = repr(list(itertools.chain(*shown))) == repr(self._ids)
        if not same or not all(0 < len(each) <= self._size for each in shown):
            self.faults["ids"].append(f"sent {self._ids}, shown {shown}")
        names = [batch.id for batch in batches]
        if len(set(names)) < len(names) or not all(map(is_uuid, names)):
            self.faults["same"].append(f"no UUIDs, or not different ones: {names}")

    def _note_moves(self, batches: tuple[Batch, ...], reply: Reply) -> None:
        before = [each.status for each in self.batches] or ["yet_to_start"] * len(batches)
        for k, (was, batch) in enumerate(zip(before, batches, strict=False)):
            rank = RANK[batch.status]
            if rank < RANK[was] or (RANK[was] == 2 and was != batch.status):
                self.faults["forward"].append(f"a batch went from {was} to {batch.status}")
            if rank and k not in self.begins:
                self.begins[k] = Begin(batch.ids, self._looked_at, reply.had_at)
            if rank == 2 and self.begins[k].ended_by is None:
                self.begins[k] = replace(self.begins[k], ended_by=reply.had_at)


class Session:
    """One run: the server, the report, the ingestions that we follow, and who else is in line."""

    def __init__(self, api: Api, report: Report) -> None:
        self.api, self.report = api, report
        self.ours: list[Ingestion] = []
        self.source = self.look_at_source()
        self.others_seen = False

    def look_at_source(self) -> Source:
        reply = self.api.ask("/v1/sources")
        found = default_source(reply.document()) if reply.status == 200 else None
        return found or Source()

    def submit(self, ids: Sequence[int], priority: str | None) -> Ingestion:
        """Submit and look once; raise Broken unless it is accepted as agreed."""
        body = {"ids": list(ids)} | ({} if priority is None else {"priority": priority})
        reply = self.api.ask("/ingest", json.dumps(body).encode())
        answer = reply.document()
        exact = set(answer) == {"ingestion_id"} and isinstance(answer["ingestion_id"], str)
        if reply.status != 200 or not exact:
            raise Broken(f"{ids} was answered {reply}")
        self.ours.append(Ingestion(self.api, reply, ids, self.source.batch_size))
        self.ours[-1].look()
        return self.ours[-1]

    def watch(self, done: Callable[[], bool], limit_s: float, what: str) -> bool:
        """Poll what has not ended until `done`, `limit_s` at most; notice others in line."""
        until, asked_at = time.monotonic() + limit_s, time.monotonic()
        while not (finished := done()) and time.monotonic() < until:
            for ingestion in self.ours:
                if not ingestion.ended:
                    ingestion.look()
            if self.source.waiting is not None and time.monotonic() - asked_at > 1:
                asked_at = time.monotonic()
                ours = sum(each.open_batches for each in self.ours)  # before: it only falls
                now, readable = self.look_at_source(), all(each.batches for each in self.ours)
                self.others_seen |= readable and (now.waiting or 0) + (now.in_flight or 0) > ours
            self.report.progress(what)
            time.sleep(POLL_S)
        return finished

    def rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.watch(lambda: time.monotonic() > until, seconds + 1, "waiting for an open slot")


# --- checks that cost no slot ---------------------------------------------------------------------

WRONG = {  # each is 422
    "an empty list": b'{"ids": []}',
    "missing ids": b'{"priority": "HIGH"}',
    "ids null": b'{"ids": null}',
    "ids that are no list": b'{"ids": 5}',
    "an id true": b'{"ids": [1, true]}',
    "an id 1.0": b'{"ids": [1.0]}',
    'an id "5"': b'{"ids": ["5"]}',
    "an id null": b'{"ids": [null]}',
    "an id that is a list": b'{"ids": [[1]]}',
    "an id of 2^63": b'{"ids": [%d]}' % (BIGGEST + 1),
    "an id of -2^63": b'{"ids": [%d]}' % (-BIGGEST - 1),
    "100 wrong ids, with 20 errors at most": b'{"ids": [%s0.5]}' % (b"0.5, " * 99),
    "an unknown priority": b'{"ids": [1], "priority": "URGENT"}',
    "a priority that is a number": b'{"ids": [1], "priority": 1}',
    "ids given twice": b'{"ids": [1], "ids": [2]}',
    "priority given twice": b'{"ids": [1], "priority": "LOW", "priority": "HIGH"}',
    "a list as body": b"[1, 2, 3]",
    "null as body": b"null",
}
NOT_JSON = {  # each is 400 or 422
    "an empty body": b"",
    "a form": b"ids=1&priority=HIGH",
    "JSON cut short": b'{"ids": [1, 2',
    "bytes that are no text": b'{"ids": [1], "priority": "\xff"}',
    "100,000 brackets": b'{"ids": ' + b"[" * 100_000,
    "an id NaN": b'{"ids": [NaN]}',
    "an id of 5,000 digits": b'{"ids": [%s]}' % (b"9" * 5000),
}
UNKNOWN = {
    "an id never given": str(uuid.uuid4()),
    "a word": "nope",
    "a number": "0",
    "a NUL": "%00",
    "500 letters": "a" * 500,
}


def refusal_faults(reply: Reply, allowed: Sequence[int]) -> list[str]:
    """Judge a refusal: its status, and a `detail` that says where, with 20 errors at most."""
    if reply.status not in allowed:
        return [f"expected {' or '.join(map(str, allowed))}, was {reply}"]
    detail = reply.document().get("detail")
    if reply.status != 422:
        return [] if detail else [f"no detail in {reply}"]
    if not isinstance(detail, list) or not 0 < len(detail) <= 20:
        return [f"detail is no list of 1 to 20: {reply}"]
    lost = [each for each in detail if not isinstance(each, dict) or not each.get("loc")]
    return [f"an error does not say where: {each!r:.80}" for each in lost]


def check_refusals(session: Session) -> None:
    for bodies, allowed in ((WRONG, [422]), (NOT_JSON, [400, 422])):
        for name, body in bodies.items():
            reply = session.api.ask("/ingest", body)
            faults = refusal_faults(reply, allowed)
            session.report.judge(f"submit: refuses {name}", faults, str(reply.status))


def check_unknown_ids(session: Session) -> None:
    for name, text in UNKNOWN.items():
        reply = session.api.ask(f"/status/{text}")
        faults = [f"expected 404, was {reply}"] if reply.status != 404 else []
        session.report.judge(f"status: 404 for {name}", faults)


# --- checks that go through the queue -------------------------------------------------------------


def check_submissions(session: Session) -> None:
    """Submit six batches: HIGH holds the slot while the others come to stand in line behind it."""
    size = session.source.batch_size
    # an external API may well not take the extremes; ours must
    ends = [1, 2, 3] if session.source.simulated is False else [BIGGEST, -BIGGEST, 0]
    # LOW before MEDIUM, so that a queue without priorities is noticed
    for name, ids, priority in (
        ("HIGH, an id repeated", [7, 7, *range(8, 7 + size)], "HIGH"),
        ("LOW, the greatest and the least id", ends[:size], "LOW"),
        ("MEDIUM", [11], "MEDIUM"),
        ("no priority", [12], None),
        ("MEDIUM again", [13], "MEDIUM"),
    ):
        faults, began_at = [], time.monotonic()
        try:
            session.submit(ids, priority)
        except Broken as broken:
            faults.append(str(broken))
        note = f"and shows it within {(time.monotonic() - began_at) * 1000:.0f} ms"
        session.report.judge(f"submit: accepts {name}", faults, note)


def check_default_priority(session: Session) -> None:
    """See that a missing priority is MEDIUM: called between the two around it, all before LOW."""
    name = "order: HIGH, then MEDIUM = no priority, then LOW"
    if len(session.ours) < 5:
        session.report.skip(name, "not everything was accepted")
        return
    high, low, *middle = session.ours
    for each in session.ours:
        each.look()
    in_line = not any(each.begins for each in (low, *middle))
    limit_s = min(6 * session.source.slot_s, 60) + 15
    session.watch(lambda: all(each.ended for each in session.ours), limit_s, "emptying our queue")
    begins = [begin for each in (high, *middle, low) for _, begin in sorted(each.begins.items())]
    if not in_line:
        session.report.skip(name, "the queue moves too fast for a line to form")
    elif not all(each.begun for each in session.ours):
        session.report.skip(name, f"not all were called within {limit_s:.0f} s")
    else:
        session.report.judge(name, order_faults(begins), shown(begins))


def check_endings(session: Session) -> None:
    """See that all of ours end; as completed at the simulated source, where nothing goes wrong."""
    name = "status: everything submitted is completed"
    if not session.ours:
        session.report.skip(name, "nothing was accepted")
        return
    left = sum(not each.ended for each in session.ours)
    said = f"{left} of {len(session.ours)} ingestions have not ended"
    blind = session.source.waiting is None or session.source.slot_s > 10
    if left and (session.others_seen or blind):
        why = "others are in line" if session.others_seen else "busy, slow or not dispatching"
        session.report.skip(name, f"{said}: {why}")
        return
    good = {"completed"} if session.source.simulated is not False else {"completed", "failed"}
    words = [batch.status for each in session.ours for batch in each.batches]
    faults = [said] if left else [f"a batch is {word}" for word in words if word not in good]
    session.report.judge(name, faults, f"{len(words)} batches")


def check_statuses(session: Session) -> None:
    """Look a last time, and report what any answer of /status has broken."""
    names = {
        "shape": "status: every answer has the agreed keys and words",
        "ids": f"status: ids as sent, at most {session.source.batch_size} in a batch",
        "same": "status: batch_id is a UUID and stays the same",
        "forward": "status: only moves forward, and follows its batches",
    }
    for each in session.ours:
        each.look()
    for kind, name in names.items():
        faults = [fault for each in session.ours for fault in each.faults[kind]]
        if any(each.batches for each in session.ours) or faults:
            session.report.judge(name, faults, f"{len(session.ours)} ingestions")
        else:
            session.report.skip(name, "there is no status to look at")


# --- order and rate -------------------------------------------------------------------------------


def shown(begins: Iterable[Begin]) -> str:
    return " · ".join(",".join(str(each) for each in begin.ids[:3]) for begin in begins)


def order_faults(expected: Sequence[Begin]) -> list[str]:
    """Say what was seen if one began for certain before another that goes ahead of it."""
    seen = shown(sorted(expected, key=lambda each: each.by))
    pairs = itertools.combinations(expected, 2)
    return [f"called as {seen}"] if any(b.by <= a.after for a, b in pairs) else []


def rate_faults(begins: Iterable[Begin], window: Window) -> list[str]:
    """Find N+1 begins that lie for certain within one window: what polling blurs is let pass."""
    line = sorted(begins, key=lambda each: each.by)
    faults = []
    for last in range(window.calls, len(line)):
        group = line[last - window.calls : last + 1]
        span = group[-1].by - min(each.after for each in group)
        if span < window.seconds - FLUSH_S:
            faults.append(f"{len(group)} began within {span:.2f} s: {shown(group)}")
    return faults


def pace_faults(submitted_at: float, begins: Iterable[Begin], source: Source) -> list[str]:
    """Find a first call not made at once, and others more than a slot late."""
    # counted from the end of the call before: that a source is slow does not make the gate late
    line = sorted(begins, key=lambda each: each.by)
    faults = []
    if line[0].after - submitted_at > 1:
        faults.append(f"the first came after {line[0].by - submitted_at:.2f} s")
    for before, each in itertools.pairwise(line):
        if each.after - (before.ended_by or each.by) > source.slot_s + source.window.seconds:
            faults.append(f"{each.by - before.by:.2f} s between {shown([before, each])}")
    return faults


def why_not_timed(session: Session) -> str | None:
    """Say why order and rate cannot be seen here at all, or None."""
    source = session.source
    if not source.windows:
        return "the source has no quota, or none that can be read"
    if source.slot_s < 0.5:
        return f"a slot of {source.slot_s * 1000:.0f} ms is too short to be seen by polling"
    if source.window.seconds > 15:
        return f"with {source.window.seconds:.0f} s to a window it would take minutes"
    if not session.ours:
        return "nothing was accepted"
    if not all(each.ended for each in session.ours):
        return "busy: what we submitted before has not ended"
    return None


def why_no_open_slot(session: Session) -> str | None:
    """Wait until the slot is open and nobody in line; say why, if it does not come to that."""
    for _ in range(3):
        now = session.look_at_source()
        if now.waiting is None or now.next_slot_us is None:
            return why_probe_failed(session)
        if now.waiting or now.next_slot_us > 3e6 * session.source.window.seconds:
            return f"busy: {now.waiting} in line, next slot in {now.next_slot_us / 1e6:.0f} s"
        if not now.in_flight and not now.next_slot_us:
            return None
        session.rest(now.next_slot_us / 1e6 + 0.2)
    return "busy: others use the slots"


def why_probe_failed(session: Session) -> str | None:
    """Learn by one id whether others are in line, and wait until its slot is over."""
    limit_s = session.source.window.seconds + 1
    probe = session.submit([99], "MEDIUM")
    if not session.watch(lambda: probe.begun, limit_s, "probing whether the queue is busy"):
        return f"busy: a probe of one id was not called within {limit_s:.0f} s"
    if not session.watch(lambda: probe.ended, limit_s, "waiting for the probe to end"):
        return "busy: the probe does not end"
    session.rest(session.source.window.seconds * 1.01 + 0.3)
    return None


def check_order_and_pace(session: Session) -> None:
    order, pace = "order: the worked example", "rate: the first at once, none over a slot late"
    try:
        why = why_not_timed(session) or why_no_open_slot(session)
        why = why or why_example_failed(session, order, pace)
    except Broken as broken:
        why = f"a submission was refused: {broken}"
    if why is not None:
        session.report.skip(order, why)
        session.report.skip(pace, why)


def why_example_failed(session: Session, order: str, pace: str) -> str | None:
    """Run the worked example and report on it; or say what makes it worthless."""
    source = session.source
    size = len(session.ours[0].batches[0].ids)  # as the server cuts them
    middle = size + max(1, size - 1)
    session.others_seen = False
    medium = session.submit(range(1, middle + 1), "MEDIUM")
    # at 4 s of 5; sooner where a pace may catch up with itself
    high_at = medium.asked_at + source.slot_s * (0.8 if source.window.calls == 1 else 0.5)
    session.watch(lambda: time.monotonic() >= high_at, source.slot_s, "the worked example")
    high = session.submit(range(middle + 1, middle + size + 2), "HIGH")
    limit_s = 4 * (source.slot_s + source.window.seconds)
    session.watch(lambda: medium.ended and high.ended, limit_s, "the worked example")
    if high.had_at > medium.asked_at + source.slot_s:
        return "the answer to HIGH came after its slot"
    if session.others_seen:
        return "busy: others came into the queue"
    line = [*medium.begins.values(), *high.begins.values()]
    if len(line) != 4 or not (medium.begun and high.begun):
        session.report.judge(order, [f"called within {limit_s:.0f} s: {shown(line)}"])
        return None
    if source.window.calls > 1 and medium.begins[1].by < high.asked_at:
        return "this quota lets calls go in bursts"
    line = [medium.begins[0], high.begins[0], high.begins[1], medium.begins[1]]
    session.report.judge(order, order_faults(line), shown(line))
    times = sorted(begin.by - medium.asked_at for begin in line)
    note = "at " + ", ".join(f"{each:.2f}" for each in times) + " s"
    session.report.judge(pace, pace_faults(medium.asked_at, line, source), note)
    return None


def check_rate(session: Session) -> None:
    """See that our calls alone, in the whole run, exceed no window of the quota."""
    name = "rate: no window of the quota is exceeded"
    calls = [call for each in session.ours for call in each.calls()]
    windows = [each for each in session.source.windows if each.calls < len(calls)]
    if not windows:
        session.report.skip(name, f"{len(calls)} calls fill no window")
        return
    faults = [fault for window in windows for fault in rate_faults(calls, window)]
    session.report.judge(name, faults, f"{len(calls)} calls")


# --- the run --------------------------------------------------------------------------------------


def run(api: Api, report: Report, *, yes: bool) -> None:
    reply = api.ask(f"/status/{uuid.uuid4()}")
    if reply.status in (401, 403):
        raise Stop(f"the server wants a key ({reply.status}): give the right one with --api-key")
    if not reply.status or 300 <= reply.status < 400:
        raise Stop(f"no usable answer at {api.base_url}: {reply}; is it the final address?")
    session = Session(api, report)
    check_unknown_ids(session)
    simulated = session.source.simulated
    if not yes and not (api.loopback if simulated is None else simulated):
        what = "cannot be seen to be" if simulated is None else "is not"
        raise Stop(f"nothing was submitted: the default source {what} simulated; allow it by --yes")
    check_refusals(session)
    check_submissions(session)
    check_default_priority(session)
    check_order_and_pace(session)
    check_rate(session)
    check_endings(session)
    check_statuses(session)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default="http://127.0.0.1:8000", metavar="URL")
    parser.add_argument("--api-key", metavar="K", help="sent as: Authorization: Bearer K")
    parser.add_argument("--yes", action="store_true", help="submit also where calls may be real")
    options = parser.parse_args()
    report = Report()
    try:
        run(Api(options.base_url, options.api_key), report, yes=options.yes)
    except (Stop, KeyboardInterrupt) as why:
        print(f"\nstopped: {why or 'interrupted'}", file=sys.stderr)
        return 1 if report.counts["FAIL"] else 2
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
