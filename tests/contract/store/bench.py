"""A store under test with a clock in hand: submit, claim, settle, rescue, cancel in one line each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from headgate.core.facts import Fact
from headgate.core.ids import Id, IdRule, IdType
from headgate.core.model import CallReport, CallRules, Claim, Priority, QuotaSpec, SourceSpec
from headgate.core.outcome import Failed, Fetched, Outcome
from headgate.core.quota import Pacing, Wait, Window
from headgate.core.retry import RetryPolicy, next_step
from headgate.service import Service
from headgate.store.commands.cancel import cancel
from headgate.store.commands.claim import Claims, Idle, TooFar, claim
from headgate.store.commands.configure import configure
from headgate.store.commands.renew import renew
from headgate.store.commands.rescue import rescue
from headgate.store.commands.settle import Lost, Settled, settle
from headgate.store.commands.settle import report as report_command
from headgate.store.engine import Engine, Row, Transaction, Value
from headgate.store.queries.left import left
from headgate.store.queries.status import BatchView, IngestionView
from headgate.store.statements import Statement
from tests.fakes import SECOND, FakeClock

ANSWERED = CallReport(sent=True, written_ago_us=100_000, answered_ago_us=0)
"""The usual end of a call: its answer came just now."""

UNKNOWN = CallReport(sent=True)
"""Nobody saw the write return, and no answer came."""

UNSENT = CallReport(sent=False)

MS = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ONE_PER_5S = Window(1, 5 * SECOND)
HELD_5S = 5_005_000
"""How long an entry occupies a window of 5 s after its u: 0.1 % longer."""


_TABLES = Statement(
    "tables",
    "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'",
    "select tablename from pg_tables where schemaname = 'public'",
)


def held_us(window: Window) -> int:
    """W and a thousandth, rounded up: said here in words of its own."""
    return window.span_us + (window.span_us + 999) // 1_000


def source(
    name: str = "catalog",
    windows: Sequence[Window] = (),
    *,
    pacing: Pacing = Pacing.BURST,
    shares: Sequence[str] = (),
    batch_size: int = 3,
    concurrency: int = 64,
    within_us: int | None = None,
    slack_us: int = SECOND,
    grace_us: int = 5 * SECOND,
    lease_us: int = 15 * SECOND,
    retry: RetryPolicy | None = None,
    text_ids: bool = False,
    call_cost: int = 1,
    id_cost: int = 0,
) -> SourceSpec:
    """A source with no limit but the ones named."""
    return SourceSpec(
        name,
        QuotaSpec(name, tuple(windows), pacing),
        tuple(shares),
        CallRules(
            concurrency=concurrency,
            batch_size=batch_size,
            within_us=within_us,
            slack_us=slack_us,
            grace_us=grace_us,
            lease_us=lease_us,
            call_cost=call_cost,
            id_cost=id_cost,
        ),
        IdRule(IdType.TEXT) if text_ids else IdRule(),
        retry or RetryPolicy(),
    )


def shared(name: str, *windows: Window, pacing: Pacing = Pacing.BURST) -> QuotaSpec:
    """A quota that several sources name."""
    return QuotaSpec(name, windows, pacing)


def policy(**more: Any) -> RetryPolicy:
    """Retries that begin at once and never stop the source, but for what is named."""
    return RetryPolicy(**({"base_us": 0, "circuit_after": 10**6} | more))


def statement(sql: str, postgres: str | None = None) -> Statement:
    """One statement of a test's own."""
    return Statement("test", sql, re.sub(r"\?(\d+)", r"$\1", postgres or sql))


async def select(tx: Transaction, sql: str, *values: Value) -> list[Row]:
    """A query of a test's own."""
    return await tx.all(statement(sql), *values)


async def _all_of(tx: Transaction, each: Statement) -> list[Row]:
    return await tx.all(each)


async def change(tx: Transaction, sql: str, *values: Value) -> int:
    """A command of a test's own."""
    return await tx.do(statement(sql), *values)


@dataclass
class Bench:
    """One process on the store."""

    engine: Engine
    clock: FakeClock
    facts: list[Fact]
    sources: dict[str, SourceSpec] = field(default_factory=dict)
    worker: str = "worker-1"
    held: list[Claim] = field(default_factory=list)
    """Claimed here and not settled yet, the oldest first."""

    async def configure(self, *sources: SourceSpec, quotas: Sequence[QuotaSpec] = ()) -> None:
        self.sources |= {spec.name: spec for spec in sources}
        await self.engine.run(configure, sources, quotas)

    @property
    def service(self) -> Service:
        return Service(
            self.engine,
            clock=self.clock,
            sources=self.sources,
            default_source=next(iter(self.sources)),
        )

    async def submit(
        self,
        *ids: Id,
        priority: Priority = Priority.MEDIUM,
        source: str | None = None,
        client: str = "default",
        key: str | None = None,
    ) -> str:
        return await self.service.submit(
            list(ids), priority=priority, source=source, client=client, idempotency_key=key
        )

    # -- claim -----------------------------------------------------------------------------------------------

    async def try_claim(self, name: str | None = None, *, most: int = 1) -> Claims | Wait | Idle:
        """Claim, and see that a look from afar, just before, was of the same mind."""
        name = name or next(iter(self.sources))
        seen = await self.engine.read(left, name, for_us=0)
        got = await self.engine.run(claim, name, worker=self.worker, most=most)
        assert not isinstance(got, TooFar), "the clock is here"
        if isinstance(got, Claims) and not got.claims[0].not_before_us:
            assert seen is None, "who is far would have passed over what is granted"
        return got

    async def claim(self, name: str | None = None) -> Claim:
        return (await self.claims(name))[0]

    async def claims(self, name: str | None = None, *, most: int = 1) -> tuple[Claim, ...]:
        got = await self.try_claim(name, most=most)
        assert isinstance(got, Claims), got
        self.held += got.claims
        return got.claims

    async def refused(self, name: str | None = None) -> Wait:
        """Ask for a claim that is not granted now."""
        got = await self.try_claim(name)
        assert isinstance(got, Wait), got
        return got

    async def claimed_ids(self, name: str | None = None) -> list[Id]:
        return ids_of(await self.claim(name))

    async def assert_granted_exactly_after(self, us: int, name: str | None = None) -> Claim:
        """A claim is told to wait so long; it is refused a microsecond before that and granted then."""
        assert (await self.refused(name)).for_us == us
        self.clock.advance(us - 1)
        assert (await self.refused(name)).for_us == 1
        self.clock.advance(1)
        return await self.claim(name)

    # -- settle ----------------------------------------------------------------------------------------------

    async def settle(
        self,
        claimed: Claim,
        outcome: Outcome | None = None,
        *,
        report: CallReport = ANSWERED,
        jitter: float = 0.5,
    ) -> Settled | Lost:
        """Settle with an outcome; without one, every id was fetched."""
        if claimed in self.held:
            self.held.remove(claimed)
        policy = self.sources[claimed.source].retry
        outcome = outcome or fetched(claimed)
        step = next_step(
            outcome,
            asked=len(claimed.ids),
            attempt=claimed.attempt,
            policy=policy,
            jitter=jitter,
            probe=claimed.probe,
            failures=claimed.failures,
        )
        return await self.engine.run(settle, claimed, step, report, policy=policy)

    async def report(self, claimed: Claim, *, written_ago_us: int) -> None:
        """The call was written so long ago, and its answer is out."""
        seen = CallReport(sent=True, written_ago_us=written_ago_us)
        await self.engine.run(report_command, claimed, seen)

    async def settle_all(self) -> None:
        """Every id of every claim that is held here was fetched."""
        for claimed in tuple(self.held):
            await self.settle(claimed)

    async def call(
        self, outcome: Outcome | None = None, name: str | None = None, *, lasts_us: int = 0
    ) -> Claim:
        """Claim what is next, let the call last so long, and settle it."""
        claimed = await self.claim(name)
        self.clock.advance(lasts_us)
        await self.settle(claimed, outcome)
        return claimed

    async def fail(self, times: int, name: str | None = None) -> None:
        """So many calls in a row that fail."""
        for _ in range(times):
            await self.call(Failed("broken"), name)

    # -- rescue and cancel -----------------------------------------------------------------------------------

    async def renew(self, *claims: Claim) -> list[Claim]:
        return await self.engine.run(renew, claims, worker=self.worker)

    async def rescue(self, worker: str = "worker-1", *, dead: bool = True) -> int:
        return await self.engine.run(rescue, worker, dead=dead)

    async def cancel(self, ingestion_id: str, *, client: str = "default") -> int:
        return await self.engine.run(cancel, ingestion_id, client=client)

    # -- look ------------------------------------------------------------------------------------------------

    async def status(self, ingestion_id: str) -> IngestionView:
        return await self.service.status(ingestion_id)

    async def batches(self, ingestion_id: str) -> list[BatchView]:
        return await self.service.batches(await self.status(ingestion_id))

    async def batch_statuses(self, ingestion_id: str) -> list[str]:
        return [str(batch.status) for batch in await self.batches(ingestion_id)]

    async def rows(self, sql: str, *values: Value) -> list[Row]:
        return await self.engine.read(select, sql, *values)

    async def records(self, ingestion_id: str) -> dict[int, tuple[str, bytes | None, str | None]]:
        """By position: how the id ended, its bytes, the reason."""
        rows = await self.rows(
            "select position, ending, body, reason from record r join ingestion i on i.seq = r.seq"
            " where ingestion_id = ?1 order by position",
            ingestion_id,
        )
        return {position: (ending, body, reason) for position, ending, body, reason in rows}

    async def endings(self, ingestion_id: str) -> dict[int, str]:
        return {
            place: ending for place, (ending, _, _) in (await self.records(ingestion_id)).items()
        }

    async def dump(self) -> dict[str, list[Row]]:
        """Everything that is stored."""
        tables = [name for (name,) in await self.engine.read(_all_of, _TABLES)]
        return {name: await self.rows(f"select * from {name} order by 1, 2") for name in tables}

    def stated(self, kind: type[Fact]) -> list[Fact]:
        """The facts of one kind, in the order stated."""
        return [fact for fact in self.facts if isinstance(fact, kind)]


def fetched(claimed: Claim) -> Fetched:
    """An answer with a record for every id that was asked for."""
    return Fetched({position: b'{"ok":true}' for position, _ in claimed.ids})


def fetched_only(claimed: Claim, *ids: Id) -> Fetched:
    """An answer that mentions only these of the ids asked for."""
    return Fetched({position: b"{}" for position, value in claimed.ids if value in ids})


def ids_of(claimed: Claim) -> list[Id]:
    return [value for _, value in claimed.ids]
