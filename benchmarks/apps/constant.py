"""One POST route, the body of a submission, a constant answer: what the framework alone costs."""

from __future__ import annotations

from fastapi import FastAPI

from benchmarks.apps.body import Submission

app = FastAPI()
ANSWER = {"ingestion_id": "0193f5c0-7e1a-7000-8000-000000000000"}


@app.post("/ingest")
async def ingest(submission: Submission) -> dict[str, str]:
    return ANSWER
