"""One example of each answer, for OpenAPI: what the worked example of the README looks like half way."""

from __future__ import annotations

from typing import Any

INGESTION_ID = "01935fda-e3e7-7f3d-ac52-6bfc4124c292"
BATCH_ID = "60648ea3-7438-51ff-92dc-a4115c3ccb93"

INGESTION: dict[str, Any] = {
    "ingestion_id": INGESTION_ID,
    "source": "simulated",
    "priority": "MEDIUM",
    "status": "triggered",
    "counts": {
        "ids": 5,
        "distinct": 5,
        "begun": 3,
        "fetched": 3,
        "missing": 0,
        "failed": 0,
        "cancelled": 0,
        "left": 2,
    },
    "batch_count": 2,
    "batch_size": 3,
    "accepted_at": "2026-11-24T22:36:57.000000Z",
    "ended_at": None,
    "cancelled_at": None,
    "forecast": {
        "position": 2,
        "starts_at": "2026-11-24T22:37:12.015000Z",
        "finishes_at": "2026-11-24T22:37:12.115000Z",
        "waits_for": "ahead",
        "quota": None,
    },
}

BATCH: dict[str, Any] = {
    "batch_id": BATCH_ID,
    "number": 0,
    "ids": [1, 2, 3],
    "status": "completed",
    "attempt": 1,
    "in_flight": False,
    "not_before": None,
    "reason": None,
    "triggered_at": "2026-11-24T22:36:57.003000Z",
    "ended_at": "2026-11-24T22:36:57.104000Z",
}

RECORD: dict[str, Any] = {
    "id": 1,
    "position": 0,
    "ending": "fetched",
    "record": {"id": 1, "simulated": True},
    "reason": None,
    "ended_at": "2026-11-24T22:36:57.104000Z",
}

SOURCE: dict[str, Any] = {
    "name": "simulated",
    "type": "simulated",
    "default": True,
    "state": "open",
    "reason": None,
    "quota": ["1/5s"],
    "quotas": [
        {
            "name": "simulated",
            "pacing": "even",
            "windows": [{"limit": 1, "span": "5s", "used": 1}],
            "blocked_until": None,
        }
    ],
    "batch_size": 3,
    "concurrency": 1,
    "in_flight": 0,
    "queue": {"ingestions": 2, "waiting": 3, "ready": 0, "backing_off": 0},
    "latency": "101ms",
    "next_slot_in_us": 1_200_000,
    "next_slot_at": "2026-11-24T22:37:02.005000Z",
    "usable_share": 0.999,
    "hint": None,
    "now": "2026-11-24T22:37:00.805000Z",
}

CALL: dict[str, Any] = {
    "granted_at": "2026-11-24T22:36:57.003000Z",
    "written_at": "2026-11-24T22:36:57.004000Z",
    "in_flight": False,
    "ingestion_id": INGESTION_ID,
    "batch_id": BATCH_ID,
}

PROBLEM: dict[str, Any] = {
    "type": "urn:headgate:problem:invalid_input",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "ids.1: Input should be a valid integer",
    "code": "invalid_input",
    "errors": [
        {"pointer": "/ids/1", "detail": "Input should be a valid integer", "code": "value_error"}
    ],
}

WORKER = {
    "worker": "5f0c3c1e9d1b4a52a0c2d6b7f1e8a934",
    "state": "working",
    "host": "gate-1",
    "pid": 4711,
    "version": "0.1.0",
    "sources": ["catalog"],
    "holds": 1,
    "started_at": "2026-11-24T23:38:59.175549Z",
    "seen_at": "2026-11-24T23:39:04.218190Z",
}
