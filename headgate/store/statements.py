"""Named SQL beside the code that speaks it: `claim.sql` holds the statements of `claim.py`.

A statement begins with `-- name: promise`. Where the engines differ, a form of its own follows as
`-- name (postgres): promise`. Placeholders are ?1 ... ?n; for PostgreSQL they become $1 ... $n. A `for update` at the
end is for engines that lock rows: SQLite has no such clause, and whoever writes there has the file to himself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

_HEAD = re.compile(r"^-- (?P<name>[a-z_0-9]+)(?: \((?P<engine>sqlite|postgres)\))?:", re.MULTILINE)
_LOCKING = re.compile(r" for update(?: of \w+)?$")
_PLACEHOLDER = re.compile(r"\?(\d+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement in its form for each engine."""

    name: str
    sqlite: str
    postgres: str


class Statements:
    """The statements of one file, as attributes."""

    def __init__(self, path: Path) -> None:
        self.__dict__.update(parse(path.read_text(encoding="utf-8")))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Statement: ...


def beside(python_file: str) -> Statements:
    """The statements in the .sql file of the same name as a module: `SQL = beside(__file__)`."""
    return Statements(Path(python_file).with_suffix(".sql"))


def parse(text: str) -> dict[str, Statement]:
    """Read the statements of one file by name."""
    forms: dict[str, dict[str, str]] = {}
    heads = list(_HEAD.finditer(text))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        block = text[head.start() : following.start() if following else None]
        body = " ".join(line for line in block.splitlines() if not line.startswith("--"))
        engine = head["engine"] or "shared"
        forms.setdefault(head["name"], {})[engine] = " ".join(body.split()).rstrip(";")
    return {name: _statement(name, by_engine) for name, by_engine in forms.items()}


def _statement(name: str, forms: dict[str, str]) -> Statement:
    shared = forms.get("shared", "")
    sqlite = forms.get("sqlite", _LOCKING.sub("", shared))
    postgres = forms.get("postgres", shared)
    return Statement(name, sqlite, _PLACEHOLDER.sub(r"$\1", postgres))
