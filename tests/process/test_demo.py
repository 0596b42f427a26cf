"""`make demo` as it is typed: what it says, what it exits with, and that it leaves nothing behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.gate import REPOSITORY
from tests.process.waiting import eventually

pytestmark = [pytest.mark.process, pytest.mark.slow]

CHECKS = ("quota", "order", "nothing lost", "nothing twice", "worker dead", "database dead")
ENDS_WITHIN_S = 120


class Demo:
    """A run in a temporary folder of ours, by which its processes are known."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._screen = folder / "screen"
        self.place = folder / "place"
        self.place.mkdir(mode=0o711)  # its database may belong to somebody else
        with self._screen.open("wb") as screen:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "scripts.demo", *options],
                cwd=REPOSITORY,
                env={**os.environ, "TMPDIR": str(self.place)},
                stdout=screen,
                stderr=screen,
                preexec_fn=_heeds_interrupts,
            )

    @property
    def said(self) -> str:
        return self._screen.read_text(encoding="utf-8")

    def code(self) -> int:
        return self.process.wait(ENDS_WITHIN_S)

    def says(self, words: str) -> None:
        """Wait until it has said so."""

        def said() -> bool:
            assert self.process.poll() is None or words in self.said, self.said
            return words in self.said

        eventually(said, f"it says: {words}", within_s=ENDS_WITHIN_S)

    def others(self) -> set[int]:
        """The processes that work in its place."""
        running = (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())
        return {pid for pid in running if self._works_here(pid)}

    def named(self, word: str) -> int:
        """One of them that was started with this word."""
        return next(pid for pid in self.others() if word in command_line(pid))

    def _works_here(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(self.place)
        except OSError:
            return False


def _heeds_interrupts() -> None:
    """As at a terminal: what a shell starts in the background inherits that they are ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")


@contextmanager
def demo(*options: str) -> Iterator[Demo]:
    """Whatever comes, it is told to end, and has the time to."""
    with tempfile.TemporaryDirectory(prefix="headgate-test-demo-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        run = Demo(folder, *options)
        try:
            yield run
        finally:
            if run.process.poll() is None:
                run.process.send_signal(signal.SIGTERM)
                run.code()


def assert_nothing_is_left(run: Demo) -> None:
    assert run.others() == set()
    assert list(run.place.iterdir()) == []


def test_the_worked_example_is_as_promised() -> None:
    with demo() as run:
        assert run.code() == 0, run.said
        assert "✓ Killed at" in run.said
        assert_nothing_is_left(run)


def test_calls_stay_in_line_when_a_worker_and_the_database_are_killed() -> None:
    with demo("--machines", "3") as run:
        assert run.code() == 0, run.said
        for name in CHECKS:
            assert f" ✓ {name}" in run.said
        assert run.said.count("kill -9 ") >= 2
        assert_nothing_is_left(run)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 128 + signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_interrupted_it_leaves_nothing_behind(number: signal.Signals, code: int) -> None:
    with demo("--machines", "2") as run:
        run.says("by worker")
        assert len(run.others()) > 5, "a source, an API, two workers and a database with its own"
        run.process.send_signal(number)

        assert run.code() == code, run.said
        assert "Traceback" not in run.said
        assert_nothing_is_left(run)


def test_killed_it_takes_its_processes_along() -> None:
    with demo("--machines", "2") as run:
        run.says("by worker")
        run.process.kill()
        run.code()

        eventually(lambda: not run.others(), "none of its processes is there")


def test_it_says_who_ended_by_itself() -> None:
    with demo("--machines", "2") as run:
        run.says("by worker")
        os.kill(run.named("--no-worker"), signal.SIGKILL)

        assert run.code() == 1
        assert "✗ api ended by itself" in run.said
        assert_nothing_is_left(run)


@pytest.mark.parametrize("wrong", ["1", "6", "x", "-3", ""])
def test_a_wrong_number_of_machines_is_said(wrong: str) -> None:
    with demo(f"--machines={wrong}") as run:
        assert run.code() == 2
        assert "is not a number from 2 to 5" in run.said


def test_make_hands_the_number_on() -> None:
    def would_run(*arguments: str) -> list[str]:
        dry = [
            "make",
            "--dry-run",
            "--no-print-directory",
            "--assume-old=.venv/made/run",
            "--assume-old=.venv/made/dev",
        ]
        said = subprocess.run(
            [*dry, "demo", *arguments], cwd=REPOSITORY, capture_output=True, check=True
        )
        return shlex.split(said.stdout.decode().splitlines()[-1])

    assert would_run()[-2:] == ["-m", "scripts.demo"]
    assert would_run("MACHINES=3")[-4:] == ["-m", "scripts.demo", "--machines", "3"]
