"""A store with every kind of row, and everything that can be seen of one."""

from __future__ import annotations

from typing import Any

from headgate.core.model import Priority, SourceSpec
from headgate.core.outcome import Failed, Fetched, Refused, Rejected, Throttled
from headgate.core.quota import Wait, Window
from headgate.store.commands.configure import configure
from headgate.store.engine import Engine
from tests.contract.store.bench import HOUR, MINUTE, Bench, fetched_only, policy, shared, source
from tests.fakes import SECOND

ODD = "quote \" ' backslash \\ tab \t newline \n é ß 漢字 \U0001f600 \u202e \x7f \ufeff"
BYTES = bytes(range(256))
CLIENTS = ("default", "client-é")

SOURCES: tuple[SourceSpec, ...] = (
    source("catalog", [Window(40, HOUR)], retry=policy(base_us=60 * SECOND)),
    source("bulk", [Window(5_000, HOUR), Window(3, 10 * SECOND)], batch_size=10),
    source("odd", text_ids=True, batch_size=2),
    source("closed"),
    source("left", shares=["account"]),
    source("right", shares=["account"]),
)
QUOTAS = (shared("account", Window(1, MINUTE)),)

Seen = dict[str, Any]


def bench_of(engine: Engine, clock: Any, *, worker: str = "worker-1") -> Bench:
    return Bench(engine, clock, [], {spec.name: spec for spec in SOURCES}, worker=worker)


async def fill(bench: Bench) -> None:
    """Queued, begun, held, backing off, ended in every way, cancelled, repeated, throttled, closed, in turn."""
    await bench.engine.run(configure, SOURCES, QUOTAS)
    await _ended(bench)
    await _under_way(bench)
    await _limited(bench)
    await _queued(bench)


async def _ended(bench: Bench) -> None:
    await bench.submit(1, 1, 2, 1, 2, 3, 1, source="catalog", key="once é")
    first = await bench.claim("catalog")
    bench.clock.advance(SECOND)
    bodies = {position: BYTES + bytes([position]) for position, _ in first.ids}
    await bench.settle(first, Fetched(bodies))
    second = await bench.claim("catalog")
    await bench.settle(second, Fetched(failed={second.ids[0][0]: f"no such\0record {ODD}"}))
    await bench.submit(ODD, "x", "a\0b", "漢字", source="odd", client=CLIENTS[1], key="once é")
    odd = await bench.claim("odd")
    await bench.settle(odd, fetched_only(odd, ODD))
    await bench.call(Rejected(f"too\0odd {ODD}"), "odd")
    await bench.submit(*range(20, 26), source="catalog", priority=Priority.LOW)
    await bench.call(None, "catalog")
    gone = await bench.submit(*range(30, 39), source="catalog", priority=Priority.HIGH)
    held = await bench.claim("catalog")
    await bench.cancel(gone)
    await bench.settle(held)
    await bench.cancel(await bench.submit(40, 41, source="catalog"))


async def _under_way(bench: Bench) -> None:
    await bench.submit(50, 51, 52, source="catalog", priority=Priority.HIGH)
    await bench.call(Failed(f"broken\0pipe {ODD}"), "catalog")  # backs off
    await bench.submit(53, 54, source="catalog", priority=Priority.HIGH)
    await bench.call(Rejected("one of them is bad"), "catalog")  # split, and in line again
    await bench.submit(*range(60, 69), source="catalog", priority=Priority.HIGH)
    await bench.claim("catalog")  # held, and nobody renews it
    bench.clock.advance(SECOND)
    asked_to_end = await bench.submit(70, 71, 72, source="catalog", priority=Priority.HIGH)
    while (await bench.claim("catalog")).ids[0][1] != 70:
        pass
    await bench.cancel(asked_to_end)


async def _limited(bench: Bench) -> None:
    await bench.submit(*range(100, 200), source="bulk")
    for _ in range(3):
        await bench.call(None, "bulk", lasts_us=200_000)
    assert isinstance(await bench.try_claim("bulk"), Wait)
    await bench.submit(*range(6), source="closed")
    await bench.call(Refused("the token has expired"), "closed")
    for name in ("left", "right"):
        await bench.submit(*range(9), source=name)
    await bench.call(Throttled(90 * SECOND), "left")
    assert isinstance(await bench.try_claim("left"), Wait)
    assert isinstance(await bench.try_claim("right"), Wait)


async def _queued(bench: Bench) -> None:
    for priority in Priority:
        for source_name in ("catalog", "bulk", "odd"):
            ids = [f"{source_name} {n} {ODD}" for n in range(5)]
            given = ids if source_name == "odd" else range(300, 307)
            await bench.submit(*given, source=source_name, priority=priority, client=CLIENTS[1])
    await bench.submit(*range(1_000, 3_000), *range(1_500, 2_500), source="bulk")


async def all_seen(bench: Bench) -> Seen:
    """Everything that the service says."""
    service = bench.service
    seen: Seen = {}
    for client in CLIENTS:
        for view in await service.ingestions(client=client, most=1_000):
            assert view == await service.status(view.ingestion_id, client=client)
            seen[view.ingestion_id] = (
                view,
                await service.batches(view),
                sorted((await service.begun(view)).items()),
                await service.records(view),
                await service.outlook(view),
            )
        for name in bench.sources:
            seen[f"{client} {name}"] = await service.calls(name, client=client)
    return seen | {"sources": await service.sources()}


def said(value: object) -> str:
    """In words, with every NUL as PostgreSQL's texts have it: those of ids, which are JSON, are there on both sides."""
    return repr(value).replace("\\x00", "\N{REPLACEMENT CHARACTER}")
