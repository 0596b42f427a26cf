"""A PostgreSQL URL: what the driver is given, and which profile of the database is to be used.

Ours among the parameters of the URL: `pooler=transaction` (behind PgBouncer in transaction mode: no LISTEN, no
prepared statements), `pooler=session` (behind one that lends a connection for the whole session) and `notify=off` (a
database that has no LISTEN and NOTIFY). The rest goes to the driver, but for what only libpq knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]]*)(:\d+)?")
MOST_PORT = 65_535
VALUES = {"pooler": ("session", "transaction"), "notify": ("on", "off")}

OF_LIBPQ_ONLY = frozenset(
    (
        "channel_binding",
        "connect_timeout",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    )
)
"""What platforms put into the URLs that they hand out. The driver would send it to the server as a setting of the
session, which refuses it."""

_SHAPE = (
    "should be postgresql://user:password@host:port/name; characters such as / # @ [ in a password are written as"
    " %2F %23 %40 %5B"
)


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where the database is, and what it can do. Its text may hold a password: it is never shown."""

    dsn: str
    prepared_statements: bool = True
    notify: bool = True
    pooler: str = ""

    def __repr__(self) -> str:
        return f"PostgresUrl({self.shown!r})"

    @property
    def shown(self) -> str:
        """Host and database, without who comes with which password."""
        parts = urlsplit(self.dsn)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def parse_postgres_url(url: str) -> PostgresUrl:
    """Take our parameters out of a URL. Raises ValueError, which never shows it."""
    parts = _split(url)
    given = dict.fromkeys(VALUES, "")
    rest = []
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key in VALUES:
            given[key] = value
        elif key not in OF_LIBPQ_ONLY:
            rest.append((key, value))
    for key, value in given.items():
        if value and value not in VALUES[key]:
            raise ValueError(f"{key} in the URL should be {' or '.join(VALUES[key])}")
    dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(rest), ""))
    pooled = given["pooler"] == "transaction"
    return PostgresUrl(dsn, not pooled, not pooled and given["notify"] != "off", given["pooler"])


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # it may show a piece of the password
        raise ValueError(_SHAPE) from None
    credentials, _, hosts = parts.netloc.rpartition("@")
    if parts.fragment or "@" in credentials or not all(map(_is_host, hosts.split(","))):
        raise ValueError(_SHAPE)
    return parts


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int((found[2] or ":1")[1:]) <= MOST_PORT
