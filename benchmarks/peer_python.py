"""A virtual environment for the peers, made for one run: nothing of theirs is a dependency of this project."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

WANTED = ("procrastinate", "psycopg[binary]", "pgqueuer[asyncpg]")
SAME_AS_OURS = ("asyncpg", "fastapi", "pydantic", "uvicorn")
SHOWN = ("procrastinate", "psycopg", "pgqueuer", "asyncpg", "uvloop")
MAKE_S, INSTALL_S = 60.0, 120.0


class NotInstalled(Exception):
    """The peers cannot be had here: the message says why."""


def made(place: Path) -> tuple[str, dict[str, str]]:
    """A Python with both peers, and the versions of what it has. Raises NotInstalled."""
    python = str(place / "bin" / "python")
    ours = [f"{name}=={version(name)}" for name in SAME_AS_OURS]
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "venv", str(place)], MAKE_S)
    _run([*pip, "install", "--quiet", "--only-binary=:all:", *WANTED, *ours], INSTALL_S)
    listed = json.loads(_run([*pip, "list", "--format=json"], MAKE_S))
    return python, {each["name"].lower(): each["version"] for each in listed}


def _run(arguments: list[str], at_most_s: float) -> str:
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=at_most_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing was said"]
        raise NotInstalled(said[-1])
    return done.stdout
