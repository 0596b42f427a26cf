"""`costs` and `fleet`: what one of each costs here, what the model makes of it, and what a simulation says to that."""

from __future__ import annotations

from benchmarks.figure import Line, note
from benchmarks.scale import fleet, model
from benchmarks.scale.model import Costs, Load

MEASURED = Costs(
    accept_us=200,
    id_us=0.3,
    granted_us=800,
    refused_us=470,
    settle_us=660,
    record_us=1.9,
    look_us=300,
    ingestion_bytes=590,
    id_bytes=5,
    batch_bytes=1_040,
    record_bytes=123,
)
"""As `costs` measured them; docs/scale.md has the table."""

LARGE = Load(
    sources=1_000,
    workers=100,
    calls_per_s=2_000,
    ids_per_call=500,
    ids_per_ingestion=10_000,
    concurrency=16,
)
IDS = 10**9
USED_UP = 0.97
"""Until then every source has work: afterwards some have run dry."""


def measure(quick: bool) -> list[Line]:
    """The large fleet: simulated for as long as a billion ids take, or for a hundredth of that."""
    ids = IDS // 100 if quick else IDS
    until_us = USED_UP * ids / (LARGE.calls_per_s * LARGE.ids_per_call) * 1e6
    rest = model.at_rest(LARGE, MEASURED)
    needs = model.needs(LARGE, MEASURED)
    return [
        *fleet.measure(LARGE, MEASURED, ids=ids, until_us=until_us),
        note("processors of the database at rest, by the model", rest, ""),
        note("connections at most, by the model", needs.connections, ""),
        note("bytes an id besides its record, by the model", needs.bytes_per_id, ""),
    ]
