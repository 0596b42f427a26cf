"""PgQueuer as its documentation has it: producers on asyncpg's pool, a worker on a connection of its own.

`uvicorn benchmarks.apps.pgqueuer_app:api` accepts, this as a script with `work` works, as `pgq run` does, and with
anything else it times claims. It runs in the peers' own virtual environment, not in ours.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pgqueuer  # type: ignore[import-not-found]
import uvloop  # type: ignore[import-not-found]
from fastapi import FastAPI
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver  # type: ignore[import-not-found]
from pgqueuer.ports.repository import (  # type: ignore[import-not-found]
    EntrypointExecutionParameter,
)
from pgqueuer.queries import Queries  # type: ignore[import-not-found]

from benchmarks.apps import jobs, timed
from benchmarks.apps.body import Submission

ENTRYPOINT = "work"


# -- accepting ---------------------------------------------------------------------------------------------

_queries: list[Any] = []


@asynccontextmanager
async def _open(_: FastAPI) -> AsyncIterator[None]:
    size = jobs.CONNECTIONS
    async with asyncpg.create_pool(jobs.DATABASE, min_size=size, max_size=size) as pool:
        _queries.append(Queries(AsyncpgPoolDriver(pool)))
        yield


api = FastAPI(lifespan=_open)


@api.post("/ingest")
async def ingest(submission: Submission) -> dict[str, str]:
    """A job for each batch, all of them in one statement."""
    batches = [json.dumps(each).encode() for each in jobs.batches(submission.ids)]
    priorities = [jobs.PRIORITY[submission.priority]] * len(batches)
    made = await _queries[0].enqueue([ENTRYPOINT] * len(batches), batches, priorities)
    return {"ingestion_id": str(made[0])}


@api.post("/whole")
async def whole(submission: Submission) -> dict[str, str]:
    """One job for the request."""
    payload, priority = json.dumps(submission.ids).encode(), jobs.PRIORITY[submission.priority]
    made = await _queries[0].enqueue(ENTRYPOINT, payload, priority)
    return {"ingestion_id": str(made[0])}


# -- working -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def worker() -> AsyncIterator[Any]:
    connection = await asyncpg.connect(jobs.DATABASE)
    try:
        manager = PgQueuer(AsyncpgDriver(connection))
        limited = manager.entrypoint(ENTRYPOINT, concurrency_limit=jobs.AT_ONCE)
        limited(_work)
        yield manager
    finally:
        await connection.close()


async def _work(job: Any) -> None:
    await jobs.work(json.loads(job.payload))


# -- claims, timed -----------------------------------------------------------------------------------------


class Queue:
    """What its worker does with a job, without the worker."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queries = Queries(AsyncpgDriver(connection))
        self._manager = uuid.uuid4()

    async def claim(self) -> object:
        (job,) = await self._queries.dequeue(
            batch_size=1,
            entrypoints={ENTRYPOINT: EntrypointExecutionParameter(concurrency_limit=0)},
            queue_manager_id=self._manager,
            global_concurrency_limit=None,
            heartbeat_timeout=timedelta(seconds=30),
        )
        return job

    async def finish(self, claimed: object) -> None:
        await self._queries.log_jobs([(claimed, "successful", None)])

    async def replace(self) -> None:
        await self._queries.enqueue(ENTRYPOINT, b"[1,2,3]", 0)

    async def close(self) -> None:
        await self._connection.close()


async def _opened(url: str) -> Queue:
    return Queue(await asyncpg.connect(url))


if __name__ == "__main__":
    if sys.argv[1] == "work":
        uvloop.run(pgqueuer.run(worker, batch_size=jobs.BATCH_SIZE))
    else:
        timed.main(_opened)
