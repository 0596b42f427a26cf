"""Anything in any order, against a simple model: what a claim gives, what is counted, and that no window is ever over.

Hypothesis chooses what happens, and when it finds a history that goes wrong, it shows the shortest.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headgate.core.errors import Conflict
from headgate.core.facts import Fact, LedgerWentBack, TimeUnwatched
from headgate.core.model import CallReport, Claim, Priority, SourceSpec
from headgate.core.outcome import (
    Failed,
    Fetched,
    Outcome,
    Refused,
    Rejected,
    Throttled,
    Unsent,
)
from headgate.core.quota import Hold, Wait, Window
from headgate.store.commands.claim import Claims, Idle
from headgate.store.commands.settle import Lost
from headgate.store.engine import Engine
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from headgate.store.queries.now import now_of
from headgate.store.sqlite.engine import SqliteEngine
from tests.contract.store import model as plain
from tests.contract.store.agree import assert_rows_agree
from tests.contract.store.bench import Bench, policy, shared, source
from tests.contract.store.conftest import FakeTime, as_good_as_new
from tests.contract.store.test_lifecycle import Reader
from tests.fakes import SECOND, FakeClock
from tests.postgres import create_database

T = TypeVar("T")

SHM = Path("/dev/shm")

OUTCOMES = ["fetched", "fetched", "partly", "throttled", "failed", "rejected", "refused", "unsent"]
SEEN = ["answer", "answer", "write", "nothing"]

WINDOWS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([SECOND, 5 * SECOND, 20 * SECOND])),
    max_size=2,
    unique_by=lambda window: window[1],
)
SPANS = st.sampled_from(
    [1, 999_999, SECOND, 3 * SECOND, 5_005_000, 6_006_000, 16 * SECOND, 60 * SECOND]
)
FEW = st.integers(1, 4)
PICK = st.integers(0, 255)
"""One of however many there are."""

DRAWN: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "submit": (
        PICK,
        st.lists(st.integers(0, 9), min_size=1, max_size=9),
        st.sampled_from(Priority),
    ),
    "claim": (PICK, st.sampled_from([1, 1, 1, 3])),
    "settle": (
        PICK,
        st.sampled_from(OUTCOMES),
        st.sampled_from(SEEN),
        st.sampled_from([0.0, 0.3, 1.0]),
        PICK,
    ),
    "time_passes": (SPANS,),
    "wait_as_told": (PICK,),
    "change_rules": (PICK, FEW, FEW),
    "change_quota": (PICK, WINDOWS),
    "rescue": (PICK, st.booleans(), st.booleans()),
    "renew": (PICK,),
    "cancel": (PICK,),
    "wall_clock_steps": (st.integers(-2 * 86_400 * SECOND, 2 * 86_400 * SECOND),),
    "reboot": (st.sampled_from([0, SECOND, 60 * SECOND, 3_600 * SECOND]),),
}
"""Everything that may happen, and what chance decides about it."""

OFTEN = {"submit": 3, "claim": 8, "settle": 7, "time_passes": 4, "wait_as_told": 2, "rescue": 2}
STEPS = [what for what in DRAWN for _ in range(OFTEN.get(what, 1))]

LEARNING_US = 61 * SECOND
"""A window that is new in the configuration may count whole minutes of the past: it may wait too long by that."""


class Gate(RuleBasedStateMachine):
    """A store with two workers, and beside it the model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None)
        self.clock = FakeClock()
        self.facts: list[Fact] = []
        self.engine = self.open_engine()
        self.bench = Bench(self.engine, self.clock, self.facts)
        self.reader = Reader(self.bench)
        self.boots = 0
        self.on_the_way: list[tuple[Claim, dict[str, Any]]] = []

    def open_engine(self) -> Engine:
        file = Path(self.folder.name) / "headgate.db"
        return SqliteEngine(file, clock=self.clock, observe=self.facts.append)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    # -- configuration ---------------------------------------------------------------------------------------

    @initialize(
        share=st.booleans(),
        reboots=st.booleans(),
        own=WINDOWS,
        account=WINDOWS,
        absent=st.booleans(),
        within_us=st.sampled_from([None, None, 0, 100_000]),
        batch_size=FEW,
        concurrency=FEW,
    )
    def begin(
        self,
        share: bool,
        reboots: bool,
        own: list[tuple[int, int]],
        account: list[tuple[int, int]],
        absent: bool,
        within_us: int | None,
        batch_size: int,
        concurrency: int,
    ) -> None:
        self.names = ["a", "b"] if share else ["a"]
        self.reboots = reboots
        self.model = plain.Model(now=self.clock.wall_us, absent=absent, within_us=within_us)
        self.model.windows = {"a": own, "b": [], "account": account}
        self.learning_until = dict.fromkeys(self.names, 0)
        for name in self.names:
            self.model.configure(name, batch_size=batch_size, concurrency=concurrency)
            if share:
                self.model.sources[name]["quotas"] = [name, "account"]
        self.configure()

    def configure(self) -> None:
        account = shared("account", *(Window(*each) for each in self.model.windows["account"]))
        self.run(
            self.bench.configure(
                *(self.spec(name) for name in self.names),
                quotas=[account] if len(self.names) > 1 else [],
            )
        )

    def spec(self, name: str) -> SourceSpec:
        rules = self.model.sources[name]
        return source(
            name,
            [Window(*each) for each in self.model.windows[name]],
            shares=rules["quotas"][1:],
            batch_size=rules["batch_size"],
            concurrency=rules["concurrency"],
            within_us=self.model.within_us,
            lease_us=plain.LEASE_US,
            retry=policy(
                max_attempts=plain.MAX_ATTEMPTS,
                base_us=2 * SECOND,
                absent=self.model.absent,
                circuit_after=plain.CIRCUIT_AFTER,
            ),
        )

    def change_rules(self, pick: int, batch_size: int, concurrency: int) -> None:
        self.model.configure(self.name(pick), batch_size=batch_size, concurrency=concurrency)
        self.configure()

    def change_quota(self, pick: int, windows: list[tuple[int, int]]) -> None:
        quotas = ["a", "account"] if len(self.names) > 1 else ["a"]
        quota = quotas[pick % len(quotas)]
        if windows == self.model.windows[quota]:
            return
        self.model.windows[quota] = windows
        for name in self.names:
            if quota in self.model.sources[name]["quotas"]:
                self.learning_until[name] = self.model.now + LEARNING_US
        self.configure()

    @rule(what=st.sampled_from(STEPS), data=st.data())
    def step(self, what: str, data: st.DataObject) -> None:
        """One rule for everything: among many, Hypothesis leaves some out of a history altogether."""
        getattr(self, what)(*(data.draw(values) for values in DRAWN[what]))

    # -- the queue -------------------------------------------------------------------------------------------

    def name(self, pick: int) -> str:
        return self.names[pick % len(self.names)]

    def worker(self, pick: int) -> str:
        return f"worker-{self.boots}-{pick % 2}"

    def submit(self, pick: int, ids: list[int], priority: Priority) -> None:
        name = self.name(pick)
        ingestion = self.run(self.bench.submit(*ids, priority=priority, source=name))
        self.model.submit(ingestion, name, ids, priority)

    def claim(self, pick: int, most: int) -> None:
        name = self.name(pick)
        if not self.model.line(name) and self.model.next_due(name) is None:
            self.submit(pick, [(pick >> n) % 10 for n in range(8)], Priority.MEDIUM)
        self.bench.worker = self.worker(pick // 7)
        self.model.bring_back(name)
        match self.run(self.bench.try_claim(name, most=most)):
            case Claims(claims):
                for claimed in claims:
                    self.granted(name, claimed)
                if len(claims) < most and self.model.line(name):
                    self.may_be_refused(name)
            case Wait() as wait:
                self.waits(name, wait)
            case Idle():
                assert not self.model.line(name), "idle, and there is something to do"
                assert self.model.next_due(name) is None, "idle, and something backs off"

    def granted(self, name: str, claimed: Claim) -> None:
        """It is the first in line, all of what is to do of it, and no window can be over because of it."""
        model = self.model
        line = model.line(name)
        assert line, "granted, and nothing is to do"
        ingestion, batch = line[0]
        assert (claimed.seq, claimed.number) == (ingestion["seq"], batch["number"])
        assert list(claimed.ids) == model.next_ids(name, ingestion, batch)
        assert claimed.attempt == batch["attempt"]
        assert claimed.not_before_us == 0
        assert model.over(name) is None, "over quota at the source"
        assert model.refused(name) is None, "granted against the rule"
        call = model.take(name, self.bench.worker)
        assert claimed.fence == call["fence"]
        call["spared"] = (
            call["probe"] and plain.probe_after_us(claimed.failures) < plain.PROBE_MAX_US
        )
        self.on_the_way.append((claimed, call))

    def waits(self, name: str, wait: Wait) -> None:
        """It is refused for a reason, and told the earliest instant at which it can be granted."""
        model = self.model
        if not model.line(name):
            due = model.next_due(name)
            assert due is not None
            closed = due >= plain.ASIDE
            assert wait.why is (Hold.CLOSED if closed else Hold.BACKOFF)
            assert closed or wait.for_us == due - model.now
            return
        self.may_be_refused(name)
        if wait.why is Hold.CLOSED or self.uncertain(name):
            return
        earliest = model.earliest(name)
        assert wait.for_us == (None if earliest is None else earliest - model.now)

    def may_be_refused(self, name: str) -> None:
        assert self.model.refused(name) is not None or self.uncertain(name), "refused without need"

    def uncertain(self, name: str) -> bool:
        """A quota that changed may wait too long for a while; an older ticket on a shared quota goes first."""
        return len(self.names) > 1 or self.model.now < self.learning_until[name]

    # -- calls end -------------------------------------------------------------------------------------------

    def settle(self, pick: int, kind: str, seen: str, share: float, chance: int) -> None:
        if not self.on_the_way:
            self.claim(pick, 1)
        if not self.on_the_way:
            return
        claimed, call = self.on_the_way.pop(pick % len(self.on_the_way))
        outcome = self.outcome(kind, call, chance)
        report, ago = self.report(kind, seen, call, share)
        got = self.run(self.bench.settle(claimed, outcome, report=report))
        if not self.model.still_held(call):
            assert got == Lost()
            return
        assert got != Lost()
        self.model.over_and_done(call, sent=kind != "unsent", **ago)
        self.happened(outcome, call)
        self.learn_whether_closed(call["source"])

    def outcome(self, kind: str, call: dict[str, Any], chance: int) -> Outcome:
        asked = call["asked"]
        match kind:
            case "fetched":
                return Fetched(dict.fromkeys(asked, b"{}"))
            case "partly":
                how = {p: "rmfa"[(chance >> 2 * n) & 3] for n, p in enumerate(asked)}
                return Fetched(
                    {p: b"{}" for p in asked if how[p] == "r"},
                    frozenset(p for p in asked if how[p] == "m"),
                    {p: "bad" for p in asked if how[p] == "f"},
                )
            case "throttled":
                return Throttled((chance % 8) * SECOND)
            case "failed":
                return Failed("broken")
            case "rejected":
                return Rejected("400", missing=bool(chance & 1))
            case "refused":
                return Refused("401")
            case _:
                return Unsent()

    def report(
        self, kind: str, seen: str, call: dict[str, Any], share: float
    ) -> tuple[CallReport, dict[str, int]]:
        """What the worker saw, as it was: nothing is older than the grant, and a call leaves within its slack."""
        if kind == "unsent":
            return CallReport(sent=False), {}
        lasted = self.model.real - call["granted_real"]
        left_after = int(min(lasted, SECOND) * share)
        ago = {"written_ago": lasted - left_after}
        if kind not in ("failed",) or seen == "answer":
            ago["answered_ago"] = int((lasted - left_after) * share)
        elif seen == "nothing":
            ago = {}
        return CallReport(True, ago.get("written_ago"), ago.get("answered_ago")), ago

    def happened(self, outcome: Outcome, call: dict[str, Any]) -> None:
        """What the outcome makes of the batch, in the model."""
        model, asked, attempt = self.model, call["asked"], call["attempt"]
        last = attempt >= plain.MAX_ATTEMPTS and not call["spared"]
        if isinstance(outcome, Fetched | Rejected):
            model.call_back(call["source"])
        match outcome:
            case Fetched():
                ends = dict.fromkeys(outcome.records, "fetched")
                ends |= dict.fromkeys(outcome.missing, "missing")
                ends |= dict.fromkeys(outcome.failed, "failed")
                if model.absent and len(ends) < len(asked) and not last:
                    model.end(call, ends)
                    self.again(call, answered=True)
                    return
                model.end(call, {position: ends.get(position, "missing") for position in asked})
                model.give_back(call, attempt=1)
            case Throttled(after_us):
                rules = model.sources[call["source"]]
                assert after_us is not None
                rules["blocked_until"] = max(rules["blocked_until"], model.now + after_us)
                model.give_back(call, attempt=attempt)
            case Failed() | Refused() if self.buries(outcome, call):
                model.end(call, dict.fromkeys(asked, "failed"))
                model.give_back(call, attempt=1)
            case Failed():
                self.again(call)
            case Rejected() if len(asked) > 1:
                model.split(call)
                model.give_back(call, attempt=1)
            case Rejected(missing=missing):
                model.end(call, dict.fromkeys(asked, "missing" if missing else "failed"))
                model.give_back(call, attempt=1)
            case Refused():
                model.give_back(call, attempt=attempt, due=plain.ASIDE + model.now)
            case _:
                model.give_back(call, attempt=attempt)

    def buries(self, outcome: Outcome, call: dict[str, Any]) -> bool:
        """A probe buries nothing: one that is refused never, one that fails not before probes are far apart."""
        spared = call["probe" if isinstance(outcome, Refused) else "spared"]
        return call["attempt"] >= plain.MAX_ATTEMPTS and not spared

    def again(self, call: dict[str, Any], *, answered: bool = False) -> None:
        attempt, now = call["attempt"], self.model.now
        aside = call["probe"] and not answered
        self.model.give_back(
            call,
            attempt=attempt if call["spared"] else attempt + 1,
            due=plain.ASIDE + now if aside else now + plain.backoff_us(attempt),
        )

    def learn_whether_closed(self, name: str) -> None:
        """For how long a source is closed is the business of test_settle: here it is only obeyed."""
        ((until,),) = self.run(
            self.bench.rows("select closed_until from source where name = ?1", name)
        )
        self.model.sources[name]["closed_until"] = until

    # -- leases, cancellations, time -------------------------------------------------------------------------

    def rescue(self, pick: int, dead: bool, old: bool) -> None:
        worker = "of another boot" if old else self.worker(pick)
        names = {worker}
        if old:
            rows = self.run(
                self.bench.rows("select distinct worker from batch where worker is not null")
            )
            current = {self.worker(0), self.worker(1)}
            names = {name for (name,) in rows} - current
        got = 0
        for name in sorted(names):  # those of one source at once
            while taken := self.run(self.bench.rescue(name, dead=dead or old)):
                got += taken

        assert got == self.model.rescue(worker, dead=dead or old)

    def renew(self, pick: int) -> None:
        self.bench.worker = self.worker(pick)
        own = [each for each in self.on_the_way if each[1].get("by") == self.bench.worker]
        lost = self.run(self.bench.renew(*(claimed for claimed, _ in own)))
        kept = [call for _, call in own if self.model.still_held(call)]
        for call in kept:
            call["batch"]["lease_until"] = self.model.now + plain.LEASE_US

        assert len(lost) == len(own) - len(kept)

    def cancel(self, pick: int) -> None:
        if not self.model.ingestions:
            return
        ingestion = self.model.ingestions[pick % len(self.model.ingestions)]
        expected = self.model.cancel(ingestion)
        try:
            got = self.run(self.bench.cancel(ingestion["id"]))
        except Conflict:
            assert expected is None
        else:
            assert got == expected

    def time_passes(self, us: int) -> None:
        self.clock.advance(us)
        self.model.advance(us)

    def wait_as_told(self, pick: int) -> None:
        """Waiting as told is enough, and work is never refused for ever."""
        name = self.name(pick)
        if not self.model.line(name) or self.uncertain(name):
            return
        earliest = self.model.earliest(name)
        if earliest is not None:
            self.time_passes(earliest - self.model.now)
            self.claim(pick, 1)

    def wall_clock_steps(self, us: int) -> None:
        """Within a boot it means nothing. (After a reboot it would: then the wall clock is all that there is.)"""
        if not self.reboots:
            self.clock.wall_us += us

    def reboot(self, away_us: int) -> None:
        """Every worker is gone, and what the wall clock says of the time between is believed less five minutes."""
        if not self.reboots:
            return
        self.clock.reboot(away_us=away_us)
        self.boots += 1
        self.on_the_way.clear()
        self.run(self.bench.renew())
        told = [fact for fact in self.facts if isinstance(fact, TimeUnwatched)]
        now = self.run(self.engine.read(now_of))

        assert len(told) == self.boots
        assert now <= self.model.now + away_us, "ledger time ran ahead of real time"
        self.model.reboot(away_us=away_us, now=now, believed_us=told[-1].believed_us)

    # -- always ----------------------------------------------------------------------------------------------

    @invariant()
    def everything_shown_is_as_in_the_model(self) -> None:
        for ingestion in getattr(self, "model", plain.Model(0)).ingestions:
            self.shown(ingestion)

    def shown(self, ingestion: dict[str, Any]) -> None:
        seen = self.run(self.bench.status(ingestion["id"]))
        counts = self.model.counts(ingestion)
        assert {name: getattr(seen.counts, name) for name in counts} == counts
        assert seen.status == self.model.status(ingestion)
        batches = [str(each.status) for each in self.run(self.bench.service.batches(seen))]
        for expected, got in zip(self.model.batch_statuses(ingestion), batches, strict=True):
            assert expected in (None, got)
        self.run(self.reader.look(ingestion["id"]))

    def teardown(self) -> None:
        try:
            self.run(assert_rows_agree(self.engine))
            self.ended_once()
            assert not any(isinstance(fact, LedgerWentBack) for fact in self.facts)
        finally:
            self.run(self.engine.close())
            self.runner.close()
            self.folder.cleanup()

    def ended_once(self) -> None:
        """Each id has the one ending that the model has."""
        for ingestion in getattr(self, "model", plain.Model(0)).ingestions:
            assert self.run(self.bench.endings(ingestion["id"])) == ingestion["ended"]


QUICK = settings(
    max_examples=30,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class GateOnPostgres(Gate):
    """The same on PostgreSQL: each history on a database that is as good as new."""

    database: ClassVar[str]

    def open_engine(self) -> Engine:
        self.run(as_good_as_new(self.database))
        engine = PostgresEngine(
            parse_postgres_url(self.database),
            clock=self.clock,
            observe=self.facts.append,
            time=FakeTime(self.clock),
        )
        self.run(engine.open())
        return engine


@pytest.fixture(scope="module")
def machine_database(postgres_server: str) -> None:
    GateOnPostgres.database = create_database(postgres_server, f"machine_{os.getpid()}")


@pytest.mark.slow
class TestGate(Gate.TestCase):  # type: ignore[misc, valid-type]  # made at run time
    settings = QUICK


@pytest.mark.long
class TestGateAtLength(Gate.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(QUICK, max_examples=3_000, stateful_step_count=80, derandomize=False)


@pytest.mark.slow
@pytest.mark.usefixtures("machine_database")
class TestGateOnPostgres(GateOnPostgres.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(QUICK, max_examples=10)


@pytest.mark.long
@pytest.mark.usefixtures("machine_database")
class TestGateOnPostgresAtLength(GateOnPostgres.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(QUICK, max_examples=300, stateful_step_count=80, derandomize=False)
