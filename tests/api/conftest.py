"""A gate for each test, in process, on a temporary database; nothing of the machine's own configuration is seen."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from starlette.testclient import TestClient

from headgate.bootstrap import make_app
from tests.api.client import UNLIMITED, Api, client_of, until
from tests.api.odd_source import OddSource, served
from tests.postgres import create_database, postgres_server, run_sql

__all__ = ["postgres_server"]

Serve = Callable[..., Api]
Environment = Callable[..., None]

on_a_file = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For a test that looks at the file itself."""

_IN_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the database lies: in memory where the host can, since nothing here tests the disk."""
    if not _IN_MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="headgate-api-", dir=_IN_MEMORY) as made:
        yield Path(made)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def database_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """A database that is as good as new, on each engine; on PostgreSQL in the long run."""
    if request.param == "sqlite":
        return f"sqlite:///{folder}/headgate.db"
    url: str = request.getfixturevalue("_database")
    tables = run_sql(url, "select tablename from pg_tables where schemaname = 'public'")
    for (table,) in tables:
        if table != "schema_version":
            run_sql(url, f"truncate {table} restart identity")
    return url


@pytest.fixture(scope="session")
def _database(postgres_server: str) -> str:
    return create_database(postgres_server, f"api_{os.getpid()}")


@pytest.fixture
def environment(folder: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Set the options of the process to come, and the text of its headgate.toml; nothing else is set."""
    for name in os.environ:
        if name.startswith("HEADGATE_") or name in {"DATABASE_URL", "PORT"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)

    def put(toml: str = "", **options: object) -> None:
        (folder / "headgate.toml").write_text(toml, encoding="utf-8")
        for name, value in {"database_url": database_url, **options}.items():
            monkeypatch.setenv(f"HEADGATE_{name.upper()}", str(value))

    put()
    return put


@pytest.fixture
def serve(environment: Environment) -> Iterator[Serve]:
    """Serve a new application with these options until the test ends."""
    with ExitStack() as stack:

        def start(toml: str = "", *, bound_host: str | None = None, **options: object) -> Api:
            environment(toml, **options)
            return stack.enter_context(client_of(make_app(bound_host=bound_host)))

        yield start


@pytest.fixture
def bare(environment: Environment) -> Iterator[Api]:
    """An application whose lifespan nobody runs: a client that is not used with `with`."""
    app = make_app()
    api = Api(app, TestClient(app, raise_server_exceptions=False))
    yield api
    if hasattr(api.app.state, "backend"):
        anyio.run(api.app.state.backend.stop)


@pytest.fixture
def still(serve: Serve) -> Api:
    """A gate that accepts and calls nobody, so that nothing moves but what the test moves."""
    return serve(worker="false")


@pytest.fixture
def running(serve: Serve) -> Api:
    """A gate with a source that holds nothing up."""
    return serve(UNLIMITED)


@pytest.fixture
def mixed(serve: Serve) -> tuple[Api, dict[str, str]]:
    """Ingestions of two sources and all priorities, one in each status; by what is said of them."""
    api = serve(
        """
        default_source = "simulated"
        [sources.simulated]
        quota = []
        latency = "0s"
        failing = [500]
        max_attempts = 1
        [sources.stuck]
        quota = []
        latency = "0s"
        failing = [500]
        backoff = "1h"
        backoff_max = "1h"
        circuit_after = 1
        probe = "1h"
        probe_max = "1h"
        """
    )
    named = {
        "completed": api.accept(1, priority="HIGH")["ingestion_id"],
        "failed": api.accept(500, priority="LOW")["ingestion_id"],
    }
    api.ended(named["completed"])
    api.ended(named["failed"])
    named["triggered"] = api.accept(500, source="stuck")["ingestion_id"]
    until(lambda: api.batches(named["triggered"])[0]["not_before"], "it backs off")
    named["yet_to_start"] = api.accept(1, source="stuck", priority="LOW")["ingestion_id"]
    named["cancelled"] = api.accept(2, source="stuck", priority="HIGH")["ingestion_id"]
    api.cancel(named["cancelled"])
    return api, named


@pytest.fixture
def odd_source() -> Iterator[OddSource]:
    with served() as source:
        yield source
