"""A source that enforces its quota to the microsecond, in a process of its own: it is never told too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process.client import Journal, Wanted
from tests.process.conftest import MakeGate, MakeSource, Say
from tests.process.engines import on_both_engines_at_length
from tests.process.judge import arrivals, drained
from tests.simulator import checker

pytestmark = [pytest.mark.process, pytest.mark.slow]

BUSY, ALONE = 0.4, 0.8
"""What must be used of what the rule allows, beside other tests and alone; the figure itself is 0.98 (benchmarks/)."""


@on_both_engines_at_length
@pytest.mark.parametrize(
    ("fast_calls", "gap_calls", "least"),
    [pytest.param(150, 6, BUSY), pytest.param(3_000, 120, ALONE, marks=pytest.mark.long)],
    ids=["briefly", "for a minute"],
)
def test_fifty_a_second_and_one_per_half_second_are_used_and_never_exceeded(
    fast_calls: int,
    gap_calls: int,
    least: float,
    start_source: MakeSource,
    make_gate: MakeGate,
    tmp_path: Path,
    say: Say,
) -> None:
    quotas = {"fast": "50/s", "gap": "1/500ms"}
    calls = {"fast": fast_calls, "gap": gap_calls}
    sources = {
        name: start_source("--latency-ms", "5", "--quota", quota) for name, quota in quotas.items()
    }
    gate = make_gate(sources["fast"])
    gate.write(
        "headgate.toml",
        {
            name: {
                "type": "http",
                "url": f"{source.url}/items{{?ids}}",
                "records": "items",
                "record_id": "id",
                "batch_size": 1,
                "quota": quotas[name],
                "concurrency": 4,
            }
            for name, source in sources.items()
        },
    )
    server = gate.serve()
    journals = {name: Journal(tmp_path / f"journal-{name}.jsonl") for name in quotas}
    for name, journal in journals.items():
        wanted = Wanted(journal.ids(calls[name]), key=name, source=name)
        journal.must_submit(server.port, wanted)
    drained(server, within_s=240)

    for name, source in sources.items():
        statuses = {each["status"] for each in source.requests()}
        assert statuses == {200}, "the source said: too many"
        log, window = arrivals(source), checker.parse_window(quotas[name])
        assert len(log) == calls[name]
        report = checker.check(log, [window], journals[name].accepted())
        assert report.good, f"\n{report}"
        latency_us = checker.mean_latency_us(log)
        share = checker.share_of_rule([e.at_us for e in log], [window], latency_us=latency_us)
        say(f"{quotas[name]}: {share or 0:.2%} of what the rule allows was used")
        assert share is not None
        assert share >= least
