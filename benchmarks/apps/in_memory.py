"""The version that people write first: a heap, a timestamp, BackgroundTasks. A restart loses everything."""

from __future__ import annotations

import asyncio
import heapq
import time
import uuid
from dataclasses import dataclass, field

from fastapi import BackgroundTasks, FastAPI

from benchmarks.apps.body import Submission

BATCH_SIZE = 3
SPAN_S = 5.0
PRIORITIES = {"HIGH": 0, "MEDIUM": 1, "LOW": 2}


@dataclass
class Batch:
    batch_id: str
    ids: list[int]
    status: str = "yet_to_start"


@dataclass
class State:
    ingestions: dict[str, list[Batch]] = field(default_factory=dict)
    heap: list[tuple[int, float, str, Batch]] = field(default_factory=list)
    last_call: float = 0.0
    busy: bool = False


app = FastAPI()
state = State()


@app.post("/ingest")
async def ingest(submission: Submission, background: BackgroundTasks) -> dict[str, str]:
    ingestion_id = str(uuid.uuid4())
    batches = [
        Batch(str(uuid.uuid4()), submission.ids[first : first + BATCH_SIZE])
        for first in range(0, len(submission.ids), BATCH_SIZE)
    ]
    state.ingestions[ingestion_id] = batches
    for batch in batches:
        entry = (PRIORITIES[submission.priority], time.time(), batch.batch_id, batch)
        heapq.heappush(state.heap, entry)
    background.add_task(process)
    return {"ingestion_id": ingestion_id}


async def process() -> None:
    if state.busy:
        return
    state.busy = True
    while state.heap:
        await asyncio.sleep(max(0.0, state.last_call + SPAN_S - time.time()))
        *_, batch = heapq.heappop(state.heap)
        state.last_call = time.time()
        batch.status = "triggered"
        await asyncio.sleep(0.1)
        batch.status = "completed"
    state.busy = False
