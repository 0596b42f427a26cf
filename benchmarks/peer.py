"""Procrastinate and PgQueuer as things to be measured: their applications are in benchmarks/apps/."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import rig
from benchmarks.product import Route, Timed, Work, left_by
from tests.postgres import run_sql

CONNECTIONS = 8
"""In each pool: as many as Headgate's, and what served both peers best here."""

AT_MOST_S = 60.0

ROUTES = (Route("a job a batch", "/ingest", 2), Route("a job a request", "/whole", 1))


@dataclass(frozen=True, slots=True)
class Peer:
    """What differs between the two. `worker` is told how many jobs it may do at once, `filling` how many to queue."""

    name: str
    python: str
    module: str
    at_once: int
    table: str
    unfinished: str
    schema: Sequence[Sequence[str]]
    worker: Sequence[str]
    filling: Sequence[str]
    routes: Sequence[Route] = ROUTES

    def prepare(self, url: str) -> None:
        for arguments in self.schema:
            self._run(url, arguments)

    def fill(self, url: str, count: int) -> None:
        run_sql(url, *(each.format(count=count) for each in self.filling), "vacuum analyze")

    def stored(self, url: str) -> int:
        return int(run_sql(url, f"select count(*) from {self.table}")[0][0])

    def left(self, url: str) -> tuple[float, int]:
        return left_by(url, self.unfinished)

    @contextmanager
    def accepting(self, url: str) -> Iterator[rig.Server]:
        app, environment = f"{self.module}:api", _environment(url)
        with (
            rig.folder() as place,
            rig.uvicorn(app, place, environment, python=self.python) as server,
        ):
            yield server

    @contextmanager
    def running(self, url: str, work: Work | None) -> Iterator[rig.Server]:
        arguments = [
            each.format(at_once=1 if work is None else work.at_once) for each in self.worker
        ]
        environment = {**_environment(url), **_told(work)}
        with (
            rig.folder() as place,
            self.accepting(url) as server,
            rig.started(
                arguments, 0, place, environment, python=self.python, errors=place / "errors"
            ) as worker,
        ):
            yield server
            assert worker.process.poll() is None, (place / "errors").read_text(encoding="utf-8")

    def timed(self, urls: Sequence[str], rounds: int) -> list[Timed]:
        found = self._run("", ["-m", self.module, str(rounds), *urls])
        return [(claims, both) for claims, both in json.loads(found)]

    def _run(self, url: str, arguments: Sequence[str]) -> str:
        done = subprocess.run(
            [self.python, *arguments],
            env={**os.environ, **_environment(url)},
            capture_output=True,
            text=True,
            timeout=AT_MOST_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def peers(python: str) -> list[Peer]:
    return [_procrastinate(python), _pgqueuer(python)]


def _procrastinate(python: str) -> Peer:
    module = "benchmarks.apps.procrastinate_app"
    command = ("-m", "procrastinate", f"--app={module}.app", "--log-level=error")
    return Peer(
        name="Procrastinate",
        python=python,
        module=module,
        at_once=16,
        table="procrastinate_jobs",
        unfinished="procrastinate_jobs where status in ('todo', 'doing')",
        schema=[(*command, "schema", "--apply")],
        worker=(*command, "worker", "--concurrency={at_once}"),
        filling=(
            "set session_replication_role = replica",  # its triggers would tell of each row
            "insert into procrastinate_jobs (queue_name, task_name, priority, args)"
            """ select 'default', 'work', 0, '{{"ids": [1, 2, 3]}}' from generate_series(1, {count})""",
            "insert into procrastinate_events (job_id, type)"
            " select id, 'deferred' from procrastinate_jobs",
        ),
    )


def _pgqueuer(python: str) -> Peer:
    module = "benchmarks.apps.pgqueuer_app"
    return Peer(
        name="PgQueuer",
        python=python,
        module=module,
        at_once=64,
        table="pgqueuer",
        unfinished="pgqueuer",  # what has ended is in its log only
        schema=[("-m", "pgqueuer", "install"), ("-m", "pgqueuer", "autovac")],
        worker=("-m", module, "work"),
        filling=(
            "insert into pgqueuer (priority, status, entrypoint, payload)"
            " select 0, 'queued', 'work', '[1, 2, 3]' from generate_series(1, {count})",
            "insert into pgqueuer_log (job_id, status, entrypoint, priority)"
            " select id, status, entrypoint, priority from pgqueuer",
        ),
    )


def _environment(url: str) -> dict[str, str]:
    return {
        "PYTHONPATH": str(rig.REPOSITORY),
        "BENCH_DATABASE": url,
        "BENCH_CONNECTIONS": str(CONNECTIONS),
        "PGQUEUER_DSN": url,
    }


def _told(work: Work | None) -> dict[str, str]:
    """PgQueuer limits what runs at once where it is to be one; else it takes as many as that in a batch."""
    if work is None:
        return {}
    told = {"BENCH_JOB_S": str(work.job_ms / 1_000), "BENCH_BATCH_SIZE": str(work.at_once)}
    if work.at_once == 1:
        told["BENCH_AT_ONCE"] = "1"
    if work.journal is not None:
        told["BENCH_JOURNAL"] = str(work.journal)
    return told
