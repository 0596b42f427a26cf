"""Headgate beside Procrastinate and PgQueuer, all on one PostgreSQL server, one after the other.

What is alike is measured alike; what is not (Headgate keeps quotas and records, the peers do not) is told in
benchmarks/README.md. Where the peers cannot be installed, Headgate's own figures remain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks import accept, high, journal, peer_python, postgres_high, rig, statements
from benchmarks.figure import Line, none_of, note, quantile, told
from benchmarks.peer import peers
from benchmarks.product import Headgate, Product, Work
from tests.postgres import PostgresServer, create_database, run_sql, served

JOB_MS = 500
MANY = 100_000
SETTLE_S = 4.0


def measure(quick: bool) -> list[Line]:
    with ExitStack() as stack:
        others, versions = _others(stack.enter_context(rig.folder()))
        server = stack.enter_context(served(**statements.LOGGING))
        products = [Headgate(), *others]
        for each in products:
            each.prepare(create_database(server.url, _tables(each)))
        return [
            versions,
            *_accepts(server, products, quick),
            *_high_by_quota(server, quick),
            *(line for each in products for line in _high(server, each, 3 if quick else 15)),
            *(line for each in products for line in _claims(server, each, quick)),
            *(line for each in products for line in _drained(server, each, quick)),
            *_at_rest(server, products, 10.0 if quick else 30.0),
        ]


def _others(place: Path) -> tuple[Sequence[Product], Line]:
    try:
        python, versions = peer_python.made(place / "venv")
    except peer_python.NotInstalled as error:
        return [], told("the peers are left out: they could not be installed", str(error))
    shown = ", ".join(f"{name} {versions[name]}" for name in peer_python.SHOWN)
    return peers(python), told("beside", shown)


def _tables(product: Product) -> str:
    """The database that has a product's tables, and nothing in them: the others are copies of it."""
    return f"{product.name.lower()}_tables"


def _database(server: PostgresServer, product: Product, what: str, queued: int = 0) -> str:
    name = f"{product.name.lower()}_{what}"
    run_sql(server.url, f'create database "{name}" template "{_tables(product)}"')
    url = server.url.rpartition("/")[0] + f"/{name}"
    if queued:
        product.fill(url, queued)
    return url


# -- accepting -----------------------------------------------------------------------------------------------


def _accepts(server: PostgresServer, products: Sequence[Product], quick: bool) -> list[Line]:
    """All of them run at once and are loaded in turns, as benchmarks/accept.py does."""
    rounds, seconds = (3, 0.5) if quick else (5, 1.0)
    urls = [_database(server, each, "accepts") for each in products]
    with ExitStack() as stack:
        loaded = [
            [accept.Contestant(route.what, api, route.path) for route in each.routes]
            for each, url in zip(products, urls, strict=True)
            for api in [stack.enter_context(each.accepting(url))]
        ]
        asyncio.run(_load([each for several in loaded for each in several], rounds, seconds))
    return [
        line
        for each, url, contestants in zip(products, urls, loaded, strict=True)
        for line in _accepted(each, each.stored(url), contestants)
    ]


async def _load(contestants: Sequence[accept.Contestant], rounds: int, seconds: float) -> None:
    for _ in range(rounds):
        for contestant in contestants:
            await contestant.run(seconds)


def _accepted(
    product: Product, stored: int, contestants: Sequence[accept.Contestant]
) -> list[Line]:
    lines: list[Line] = []
    owed = 0
    for route, each in zip(product.routes, contestants, strict=True):
        what = f"{product.name}: {each.name}"
        lines.append(note(f"{what}, accepted", median(each.rates), "/s"))
        lines.append(note(f"{what}, p99", quantile(each.latencies_ms, 0.99), "ms"))
        owed += route.rows * each.answers
    lost = sum(each.failures for each in contestants) + max(0, owed - stored)
    return [*lines, _never(product, "failed, or answered and not stored", lost)]


def _never(product: Product, what: str, count: int) -> Line:
    """A target for Headgate; of the others it is only noted."""
    line = none_of(f"{product.name}: {what}", count)
    return line if isinstance(product, Headgate) else replace(line, target="", reached=None)


# -- HIGH ----------------------------------------------------------------------------------------------------


def _high_by_quota(server: PostgresServer, quick: bool) -> list[Line]:
    """What only Headgate has: the slot of a quota opens, and HIGH goes first."""
    return postgres_high.measure(server.url, 3 if quick else 12, "Headgate: ")


def _high(server: PostgresServer, product: Product, samples: int) -> list[Line]:
    """One job at once, without a quota: the instant that HIGH could begin at is when the job before it is over."""
    url = _database(server, product, "high_at_once", MANY)
    with rig.folder() as place:
        file = place / "journal"
        with product.running(url, Work(at_once=1, job_ms=JOB_MS, journal=file)) as api:
            found = high.measured(api, file, samples, _over)
    late = [sample for sample in found if sample is not None]
    what = f"{product.name}: HIGH after the job before it"
    return [
        *([note(f"{what}, median", median(late), "ms")] if late else []),
        *([note(f"{what}, slowest", max(late), "ms")] if late else []),
        _never(product, "HIGH was not the next job", len(found) - len(late)),
    ]


def _over(previous: journal.Call) -> float:
    return previous.at_us + 1_000 * JOB_MS


# -- claims --------------------------------------------------------------------------------------------------


def _claims(server: PostgresServer, product: Product, quick: bool) -> list[Line]:
    lengths = [100, MANY] if quick else [100, MANY, 1_000_000]
    urls = [_database(server, product, f"claims_{count}", count) for count in lengths]
    found = product.timed(urls, 100 if quick else 300)
    lines = []
    for count, (claims, both) in zip(lengths, found, strict=True):
        what = f"{product.name}, {count:,} queued"
        lines.append(note(f"{what}: a claim", median(claims), "ms"))
        lines.append(note(f"{what}: claimed and finished", 1_000 / median(both), "/s"))
    return lines


def _drained(server: PostgresServer, product: Product, quick: bool) -> list[Line]:
    """Its own worker over empty jobs, from when it has begun until a tenth is left or the time is over."""
    url, seconds = _database(server, product, "drained", MANY), 1.5 if quick else 6.0
    with product.running(url, Work(at_once=product.at_once)):
        at, left = began, queued = _once_begun(product, url)
        while at - began < seconds and left > MANY / 10:
            time.sleep(0.25)
            at, left = product.left(url)
    what = f"{product.name}: empty jobs by its worker, {product.at_once} at once"
    return [note(what, (queued - left) / (at - began), "/s")]


def _once_begun(product: Product, url: str) -> tuple[float, int]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        at, left = product.left(url)
        if left < MANY:
            return at, left
        time.sleep(0.05)
    raise TimeoutError(f"{product.name} finished nothing")


# -- at rest -------------------------------------------------------------------------------------------------


def _at_rest(server: PostgresServer, products: Sequence[Product], seconds: float) -> list[Line]:
    """All of them at once, each on a database of its own: they have nothing to do."""
    urls = [_database(server, each, "rest") for each in products]
    with ExitStack() as stack:
        for each, url in zip(products, urls, strict=True):
            statements.log_statements_of(url)
            stack.enter_context(each.running(url, None))
        time.sleep(SETTLE_S)
        loads = statements.at_rest(server, urls, seconds)
    return [
        line
        for each, load in zip(products, loads, strict=True)
        for line in statements.lines(f"{each.name} at rest", load)
    ]
