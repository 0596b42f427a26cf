"""Procrastinate as its documentation has it: an app on psycopg's pool, a task, and a route that defers it.

`uvicorn benchmarks.apps.procrastinate_app:api` accepts, `procrastinate --app=benchmarks.apps.procrastinate_app.app
worker` works, and this as a script times claims. It runs in the peers' own virtual environment, not in ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import procrastinate  # type: ignore[import-not-found]
from fastapi import FastAPI

from benchmarks.apps import jobs, timed
from benchmarks.apps.body import Submission


def _app(url: str, connections: int) -> Any:
    connector = procrastinate.PsycopgConnector(
        conninfo=url, min_size=connections, max_size=connections
    )
    return procrastinate.App(connector=connector)


app = _app(jobs.DATABASE, jobs.CONNECTIONS)
task = app.task(name="work")(jobs.work)


# -- accepting ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def _open(_: FastAPI) -> AsyncIterator[None]:
    async with app.open_async():
        yield


api = FastAPI(lifespan=_open)


@api.post("/ingest")
async def ingest(submission: Submission) -> dict[str, str]:
    """A job for each batch, all of them in one statement."""
    deferrer = task.configure(priority=jobs.PRIORITY[submission.priority])
    batches = [{"ids": each} for each in jobs.batches(submission.ids)]
    return {"ingestion_id": str((await deferrer.batch_defer_async(*batches))[0])}


@api.post("/whole")
async def whole(submission: Submission) -> dict[str, str]:
    """One job for the request."""
    deferrer = task.configure(priority=jobs.PRIORITY[submission.priority])
    return {"ingestion_id": str(await deferrer.defer_async(ids=submission.ids))}


# -- claims, timed -----------------------------------------------------------------------------------------


class Queue:
    """What its worker does with a job, without the worker."""

    def __init__(self, opened: Any, worker: int) -> None:
        self._app = opened
        self._worker = worker
        self._task = opened.task(name="work")(jobs.work)

    async def claim(self) -> object:
        job = await self._app.job_manager.fetch_job(queues=None, worker_id=self._worker)
        assert job is not None
        return job

    async def finish(self, claimed: object) -> None:
        succeeded = procrastinate.jobs.Status.SUCCEEDED
        await self._app.job_manager.finish_job(claimed, status=succeeded, delete_job=False)

    async def replace(self) -> None:
        await self._task.defer_async(ids=[1, 2, 3])

    async def close(self) -> None:
        await self._app.close_async()


async def _opened(url: str) -> Queue:
    opened = _app(url, 1)
    await opened.open_async()
    return Queue(opened, await opened.job_manager.register_worker())


if __name__ == "__main__":
    timed.main(_opened)
