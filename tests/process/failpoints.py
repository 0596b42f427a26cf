"""The server dies, as by a power cut, at every place that has a name, and is started again.

Each case has a folder and a database of its own, and nobody needs to watch it: test_failpoints.py runs several at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.process.client import Cut, Journal, Wanted
from tests.process.gate import Gate, Server
from tests.process.judge import arrivals, assert_kept, drained, ingestions, times_asked
from tests.process.waiting import eventually, now_us
from tests.simulator.process import RunningServer

QUOTA = "1/300ms"
KILLED = -9


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case happens: a folder that is still to be made, and a PostgreSQL database or else a file in it."""

    folder: Path
    postgres: str | None


class Case:
    """One life and death: a source, a gate, a journal in a folder of their own."""

    def __init__(self, place: Place, *quotas: str, latency_ms: int = 5, **keys: Any) -> None:
        folder = place.folder
        folder.mkdir()
        self.quotas = quotas or (QUOTA,)
        self.source = RunningServer(folder / "source.log", "--latency-ms", str(latency_ms))
        keys |= {"quota": list(self.quotas), "postgres": place.postgres}
        self.gate = Gate(folder / "gate", self.source.url, **keys)
        self.journal = Journal(folder / "journal.jsonl")

    def __enter__(self) -> Case:
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.close()
        self.source.stop()

    def dies(self, server: Server) -> None:
        assert server.ended() == KILLED, server.last_words()
        assert self.gate.stored().wrong == ()

    def lives_on(self, server: Server | None = None, *, cancelled: tuple[str, ...] = ()) -> None:
        """In its next life: hand in more of every priority, and see that everything is kept."""
        server = server or self.gate.serve()
        for priority in ("LOW", "HIGH"):
            self.journal.must_submit(server.port, 2, priority)
        assert_kept(self.gate, server, self.source, self.journal, *self.quotas, cancelled=cancelled)


def at_the_start(place: Place, name: str) -> None:
    """Nothing is there yet, and the next start goes on as if nothing had been."""
    with Case(place) as case:
        case.dies(case.gate.start(failpoint=name))
        case.lives_on()


def _accepting(place: Place, name: str) -> str:
    """On PostgreSQL, submissions that arrive together are one command."""
    return f"{name}_together:2" if place.postgres else f"{name}:2"


def before_accepting(place: Place, name: str) -> None:
    """What was not committed was not answered, and is not there; the same key then stores it once."""
    with Case(place) as case:
        server = case.gate.serve(failpoint=_accepting(place, name))
        first = case.journal.must_submit(server.port, 4)
        wanted = Wanted(case.journal.ids(4), key="once")
        assert case.journal.submit(server.port, wanted) is None
        case.dies(server)
        assert case.gate.stored().ingestions == (first,)

        again = case.gate.serve()
        assert_same_key_same_ingestion(case, again, wanted)
        assert len(ingestions(again)) == 2
        case.lives_on(again)


def before_the_answer(place: Place, name: str) -> None:
    """What was committed and not answered is there: the same key finds it."""
    with Case(place) as case:
        server = case.gate.serve(failpoint=_accepting(place, name))
        first = case.journal.must_submit(server.port, 4)
        wanted = Wanted(case.journal.ids(4), key="once")
        assert case.journal.submit(server.port, wanted) is None
        case.dies(server)
        before = case.gate.stored().ingestions
        assert (len(before), before[0]) == (2, first)

        again = case.gate.serve()
        assert assert_same_key_same_ingestion(case, again, wanted) == before[1]
        case.lives_on(again)


def assert_same_key_same_ingestion(case: Case, server: Server, wanted: Wanted) -> str:
    given = case.journal.must_submit(server.port, wanted)
    assert case.journal.must_submit(server.port, wanted) == given
    other = {"ids": [*wanted.ids, 1], "priority": wanted.priority}
    headers = {"Idempotency-Key": wanted.key or ""}
    assert server.ask("POST", "/v1/ingestions", other, headers=headers).status == 422
    return given


def at_work(place: Place, name: str) -> None:
    """The second call is lost in one stage or another. See how far it came, and that it comes to a good end."""
    held, sent, stored, again = {
        "before_commit.claim": (0, 0, 0, 0),
        "after_commit.claim": (1, 0, 0, 0),
        "claimed": (1, 1, 3, 0),
        "called": (1, 2, 3, 3),
        "before_commit.settle": (1, 2, 3, 3),
        "settle.half": (1, 2, 3, 3),
        "after_commit.settle": (0, 2, 6, 0),
    }[name]
    with Case(place) as case:
        wanted = Wanted(case.journal.ids(7), key="once")
        server = case.gate.serve(failpoint=f"{name}:2")
        case.journal.submit(server.port, wanted)  # it may die before it could answer
        case.dies(server)
        if place.postgres and name.endswith("commit.claim"):
            again = cut_short(case)
        else:
            rows = case.gate.stored()
            assert (len(rows.held), rows.in_flight, len(arrivals(case.source)), rows.records) == (
                held,
                held,
                sent,
                stored,
            )

        server = case.gate.serve()
        case.journal.must_submit(server.port, wanted)
        drained(server)
        asked = times_asked(case.source)
        assert sorted(asked.values()) == [1] * (7 - again) + [2] * again, "asked again needlessly"
        case.lives_on(server)


def cut_short(case: Case) -> int:
    """How many ids have to be asked for again. Where the first claim of a process comes after the submission, which
    a database in a process of its own allows, it is granted, and the second one dies beside its call.
    """
    rows = case.gate.stored()
    assert len(rows.held) == rows.in_flight <= 1
    sent = len(arrivals(case.source))
    assert 3 * sent - rows.records in ({0, 3} if rows.held else {0})
    return 3 * sent - rows.records


def while_reporting(place: Place, name: str) -> None:
    """A call that is long in being answered says early that it was written; it dies saying so."""
    with Case(place, latency_ms=600, counted_within="50ms") as case:
        server = case.gate.serve(failpoint=name)
        case.journal.submit(server.port, 4)
        case.dies(server)
        assert (len(case.gate.stored().held), len(arrivals(case.source))) == (1, 1)

        case.lives_on()


def while_renewing(place: Place, name: str) -> None:
    """A call that takes longer than the 3 s after which leases are renewed."""
    with Case(place) as case:
        slow = f"{case.source.url}/items?latency_ms=3500{{&ids}}"
        case.gate.configure("slow.toml", url=slow)
        server = case.gate.serve(config="slow.toml", failpoint=name)
        case.journal.must_submit(server.port, 4)
        case.dies(server)
        assert (len(case.gate.stored().held), len(arrivals(case.source))) == (1, 1)

        case.lives_on()


def while_rescuing(place: Place, name: str) -> None:
    """One dies with a batch in its hands, the next while it takes it back."""
    with Case(place) as case:
        wanted = Wanted(case.journal.ids(4), key="once")
        server = case.gate.serve(failpoint="claimed")
        case.journal.submit(server.port, wanted)
        case.dies(server)
        case.dies(case.gate.start(failpoint=name))
        held = len(case.gate.stored().held)
        if place.postgres and name.startswith("after"):
            assert held <= 1, "the lease may run anew: time that nobody watched does not count"
        else:
            assert held == (1 if name.startswith("before") else 0)

        server = case.gate.serve()
        case.journal.must_submit(server.port, wanted)
        case.lives_on(server)


def while_cancelling(place: Place, name: str) -> None:
    """A cancellation that was not answered may be asked for again, and is final once it is answered."""
    with Case(place, "1/3s") as case:
        server = case.gate.serve(failpoint=name)
        given = case.journal.must_submit(server.port, 9)
        eventually(lambda: arrivals(case.source), "the first call")
        with pytest.raises(Cut):
            server.ask("POST", f"/v1/ingestions/{given}:cancel")
        case.dies(server)

        server = case.gate.serve()
        was = server.get(f"/v1/ingestions/{given}")["cancelled_at"]
        assert (was is not None) == name.startswith("after")
        assert server.ask("POST", f"/v1/ingestions/{given}:cancel").status == 200
        answered_us, held = now_us(), len(case.gate.stored().held)
        shown = {each["ingestion_id"]: each for each in drained(server)}[given]
        counts = shown["counts"]
        assert (shown["status"], counts["fetched"] + counts["cancelled"]) == ("cancelled", 9)
        assert counts["cancelled"] >= 3
        after = [each for each in arrivals(case.source) if each.at_us > answered_us]
        assert len(after) <= held
        server.kill()
        case.gate.configure(quota=["1/300ms"])
        case.quotas = ("1/300ms",)
        case.lives_on(cancelled=(given,))


def while_releasing(place: Place, name: str) -> None:
    """What held a source holds it still, or does not; nothing is told to whoever asked, who asks again."""
    with Case(place) as case:
        server = case.gate.serve()
        case.journal.must_submit(server.port, 3)
        drained(server)
        server.stop()
        held_until = 2**60
        case.gate.change(f"update quota set blocked_until = {held_until}")

        assert case.gate.run("release", "catalog", failpoint=name).returncode == KILLED

        server = case.gate.serve()
        state = {each["name"]: each["state"] for each in server.get("/v1/sources")["sources"]}
        assert (state["catalog"] == "paused") == name.startswith("before")
        assert case.gate.run("release", "catalog").stdout == "released: catalog\n"
        case.lives_on(server)


def while_watching(place: Place, name: str) -> None:
    """It dies as it looks at the database's clock, with calls made: the next one has to begin to watch."""
    with Case(place) as case:
        server = case.gate.serve(failpoint=f"{name}:3")
        case.journal.submit(server.port, 12)
        case.dies(server)
        assert 1 <= len(arrivals(case.source)) < 12
        case.lives_on()


def while_signing_off(place: Place, name: str) -> None:
    """It has finished its work and taken its leave, or not quite."""
    with Case(place) as case:
        server = case.gate.serve(failpoint=name)
        case.journal.must_submit(server.port, 4)
        drained(server)
        server.signal(signal.SIGTERM)
        case.dies(server)
        case.lives_on()


CASES: Mapping[str, Callable[[Place, str], None]] = {
    "migration": at_the_start,
    "before_commit.configure": at_the_start,
    "after_commit.configure": at_the_start,
    "before_commit.sign_in": at_the_start,
    "after_commit.sign_in": at_the_start,
    "before_commit.accept": before_accepting,
    "after_commit.accept": before_the_answer,
    "before_commit.claim": at_work,
    "after_commit.claim": at_work,
    "claimed": at_work,
    "called": at_work,
    "before_commit.settle": at_work,
    "settle.half": at_work,
    "after_commit.settle": at_work,
    "before_commit.report": while_reporting,
    "after_commit.report": while_reporting,
    "before_commit.renew": while_renewing,
    "after_commit.renew": while_renewing,
    "before_commit.rescue": while_rescuing,
    "after_commit.rescue": while_rescuing,
    "before_commit.cancel": while_cancelling,
    "after_commit.cancel": while_cancelling,
    "before_commit.release": while_releasing,
    "after_commit.release": while_releasing,
    "before_commit.sign_off": while_signing_off,
    "after_commit.sign_off": while_signing_off,
}

ON_POSTGRES_ONLY: Mapping[str, Callable[[Place, str], None]] = {
    "before_commit.beat": while_watching,
    "after_commit.beat": while_watching,
}
