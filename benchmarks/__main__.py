"""`python -m benchmarks [NAME ...] [--quick] [--json FILE]`: measure, and print a table."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    accept,
    claim,
    drain,
    high,
    http50,
    idle,
    million,
    peers,
    postgres,
    ready,
    slots,
    status,
)
from benchmarks.figure import Figure, Line
from benchmarks.scale import costs, figures

FIGURES: Mapping[str, Figure] = {
    "accept": accept.measure,
    "million": million.measure,
    "high": high.measure,
    "claim": claim.measure,
    "drain": drain.measure,
    "slots": slots.measure,
    "http50": http50.measure,
    "status": status.measure,
    "idle": idle.measure,
    "ready": ready.measure,
    "postgres": postgres.measure,
    "peers": peers.measure,
    "costs": costs.measure,
    "fleet": figures.measure,
}


def main(arguments: Sequence[str]) -> None:
    """Measure what was named, or everything."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # child processes are ended, too
    found: dict[str, list[Line]] = {}
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors,"
        f" load before: {os.getloadavg()[0]:.1f}"
    )
    for name in asked.names or FIGURES:
        print(
            f"\n{name}   (.venv/bin/python -m benchmarks {name}{' --quick' * asked.quick})",
            flush=True,
        )
        found[name] = FIGURES[name](asked.quick)
        for line in found[name]:
            _show(line)
    _sum_up(found)
    if asked.json:
        asked.json.write_text(_json(found, quick=asked.quick), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*FIGURES, []], metavar="NAME", help=", ".join(FIGURES)
    )
    parser.add_argument("--quick", action="store_true", help="shorter and rougher")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    return parser


def _show(line: Line) -> None:
    print(
        f"  {line.what:<52}{line.measured:>22}   {line.target:<16} {line.verdict}".rstrip(),
        flush=True,
    )


def _sum_up(found: Mapping[str, Sequence[Line]]) -> None:
    judged = [
        (name, line) for name, lines in found.items() for line in lines if line.reached is not None
    ]
    missed = [(name, line) for name, line in judged if not line.reached]
    print(f"\n{len(judged) - len(missed)} of {len(judged)} targets reached")
    for name, line in missed:
        print(f"  not reached: {name}, {line.what}: {line.measured} (target {line.target})")


def _json(found: Mapping[str, Sequence[Line]], *, quick: bool) -> str:
    machine = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_after": os.getloadavg()[0],
        "quick": quick,
    }
    figures = {name: [dataclasses.asdict(line) for line in lines] for name, lines in found.items()}
    return json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
