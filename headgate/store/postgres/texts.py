"""What a value becomes where PostgreSQL keeps it."""

from __future__ import annotations

from headgate.store.engine import Value


def plain(value: Value) -> Value:
    """PostgreSQL's texts hold every character but one."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
