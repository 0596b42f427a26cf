"""Databases and URLs with which the promises cannot be kept: refused at the start, in words that say what to do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from headgate.core.errors import HeadgateError, SourceMisconfigured, Unavailable
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.errors import for_caller
from headgate.store.postgres.url import parse_postgres_url
from tests.contract.store.conftest import FakeTime
from tests.fakes import FakeClock
from tests.pgbouncer import PgBouncer
from tests.postgres import create_database, run_sql

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresEngine]:
    clock = FakeClock()
    engine = PostgresEngine(parse_postgres_url(url), clock=clock, time=FakeTime(clock))
    try:
        await engine.open()
        yield engine
    finally:
        await engine.close()


async def refused(url: str, kind: type[HeadgateError] = SourceMisconfigured) -> str:
    """The words with which a start on this database is refused."""
    with pytest.raises(kind) as caught:
        async with opened(url):
            pass
    return caught.value.message


@pytest.fixture
async def database(postgres_server: str) -> str:
    """An empty one."""
    return await asyncio.to_thread(create_database, postgres_server, "refused")


async def ran(url: str, *statements: str) -> None:
    await asyncio.to_thread(run_sql, url, *statements)


async def test_one_that_does_not_wait_for_its_disk(database: str) -> None:
    assert "synchronous_commit is off" in await refused(f"{database}?synchronous_commit=off")


async def test_one_that_cannot_hold_every_id(database: str) -> None:
    server, _, _ = database.rpartition("/")
    make = "create database latin encoding 'LATIN1' locale 'C' template template0"
    await ran(database, "drop database if exists latin", make)

    assert "the database's encoding is LATIN1" in await refused(f"{server}/latin")


async def test_a_standby(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.store.postgres.engine.PATIENCE_S", 0.2)
    url = f"{database}?default_transaction_read_only=on"

    assert "target_session_attrs=primary" in await refused(url, Unavailable)


async def test_a_role_that_may_not_make_tables(database: str) -> None:
    url = await as_a_lesser_role(database)
    await ran(database, "revoke create on schema public from public")

    assert "`headgate migrate`" in await refused(url)


async def test_a_role_that_may_read_and_write_needs_no_more(database: str) -> None:
    async with opened(database):
        pass
    url = await as_a_lesser_role(database)
    await ran(
        database,
        "revoke create on schema public from public",
        "grant select, insert, update, delete on all tables in schema public to lesser",
    )
    async with opened(url):
        pass


async def as_a_lesser_role(database: str) -> str:
    """The URL for a role that owns nothing."""
    make = "do $$ begin create role lesser login; exception when duplicate_object then end $$"
    await ran(database, make)
    return database.replace("://postgres@", "://lesser@")


async def test_a_parameter_that_the_driver_refuses_is_told_at_once(database: str) -> None:
    assert "sslmode" in await asyncio.wait_for(refused(f"{database}?sslmode=nonesuch"), 3)


@pytest.mark.parametrize("parameter", ["pgbouncer=true", "search_path=nonesuch"])
async def test_a_parameter_that_the_server_refuses(parameter: str, database: str) -> None:
    assert "the database's URL" in await refused(f"{database}?{parameter}")


async def test_a_certificate_that_is_not_there(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the server's socket as well, which comes back: so it is tried for a while."""
    monkeypatch.setattr("headgate.store.postgres.engine.PATIENCE_S", 0.2)
    url = f"{database}?sslmode=verify-full&sslrootcert=/no/such/file"

    assert "a file that its URL names is not there" in await refused(url, Unavailable)


def test_a_certificate_that_is_not_believed() -> None:
    """From a server that speaks TLS: tests/process/test_tls.py."""
    error = ssl.SSLCertVerificationError(1, "verify failed: 1:2:3")
    error.verify_message = "IP address mismatch"

    told = for_caller(error)

    assert isinstance(told, SourceMisconfigured)
    assert "certificate is not believed (IP address mismatch)" in told.message


async def test_a_database_that_there_is_not(database: str) -> None:
    assert 'database "nonesuch" does not exist' in await refused(
        f"{database.rpartition('/')[0]}/nonesuch"
    )


async def test_a_pooler_of_which_the_url_says_nothing(database: str, pgbouncer: PgBouncer) -> None:
    """Its sessions are others', and what is prepared on one is not there on the next."""
    url = pgbouncer.url_of(database)
    async with opened(url):
        pass

    assert "pooler=transaction" in await refused(url.partition("?")[0])
