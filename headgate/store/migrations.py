"""Migrations as files: `0001_first.sql`, `0002_...sql`, in the folder of each engine."""

from __future__ import annotations

import re
from pathlib import Path

_NUMBERED = re.compile(r"^(\d{4})_\w+\.sql$")


def numbered(folder: Path) -> list[tuple[int, str]]:
    """The migrations of an engine, number and text, the oldest first."""
    names = ((_NUMBERED.match(file.name), file) for file in folder.iterdir())
    return sorted((int(name[1]), file.read_text(encoding="utf-8")) for name, file in names if name)
