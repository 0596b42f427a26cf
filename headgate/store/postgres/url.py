"""A PostgreSQL URL: what the driver is given, and which profile of the database is to be used.

Ours among the parameters of the URL: `pooler=transaction` (behind PgBouncer in transaction mode: no LISTEN, no
prepared statements) and `notify=off` (a database that has no LISTEN and NOTIFY). The rest goes to the driver.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]]*)(:\d+)?")
VALUES = {"pooler": ("none", "transaction"), "notify": ("on", "off")}


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where the database is, and what it can do. Its text may hold a password: it is never shown."""

    dsn: str
    prepared_statements: bool = True
    notify: bool = True

    def __repr__(self) -> str:
        return f"PostgresUrl({self.shown!r})"

    @property
    def shown(self) -> str:
        """Host and database, without who comes with which password."""
        parts = urlsplit(self.dsn)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def parse_postgres_url(url: str) -> PostgresUrl:
    """Take our parameters out of a URL. Raises ValueError, which never shows it."""
    parts = urlsplit(url)
    given = dict.fromkeys(VALUES, "")
    rest = []
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key in VALUES:
            given[key] = value
        else:
            rest.append((key, value))
    for key, value in given.items():
        if value and value not in VALUES[key]:
            raise ValueError(f"{key} in the URL should be {' or '.join(VALUES[key])}")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if parts.fragment or not all(map(_HOST.fullmatch, hosts)):
        raise ValueError(
            "should be postgresql://user:password@host:port/name; characters such as / and # in a password are"
            " written as %2F and %23"
        )
    dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(rest), ""))
    pooled = given["pooler"] == "transaction"
    return PostgresUrl(dsn, not pooled, not pooled and given["notify"] != "off")
