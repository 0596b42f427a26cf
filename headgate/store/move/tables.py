"""What is copied: tables as both engines have them, and what two copies of one are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from headgate.core.errors import HeadgateError
from headgate.store.engine import Row

NOT_COPIED = frozenset({"schema_version", "clock"})
"""Each engine has its own versions, and a clock of its own: the ledger's time is handed over (handover.py)."""

_CHECKSUM = 2**128


class NotMoved(HeadgateError):
    """Nothing was moved: the file is as it was, and the database shows nothing of it."""

    code = "not_moved"


@dataclass(frozen=True, slots=True)
class Table:
    """A table by its columns; the key is what its rows are told apart by."""

    name: str
    columns: Mapping[str, str]
    """Name and type, the latter in words that both engines share."""
    key: Sequence[str]


def in_both(ours: Mapping[str, Table], theirs: Mapping[str, Table]) -> list[Table]:
    """The tables to be copied, by name. Raises NotMoved if the two engines do not have the same ones."""
    differ = sorted(name for name in ours.keys() | theirs.keys() if not _same(name, ours, theirs))
    if differ:
        raise NotMoved(f"the two engines differ in {', '.join(differ)}: this is a mistake of ours")
    return [ours[name] for name in sorted(ours.keys() - NOT_COPIED)]


def _same(name: str, ours: Mapping[str, Table], theirs: Mapping[str, Table]) -> bool:
    return name in ours and name in theirs and ours[name] == theirs[name]


@dataclass(slots=True)
class Tally:
    """Rows counted, and the sum of their hashes: whatever order they come in, it is the same."""

    rows: int = 0
    checksum: int = 0
    largest: int = 0

    def add(self, row: Row) -> None:
        packed = msgspec.msgpack.encode(row)  # a text, its bytes, a number and nothing all differ
        digest = blake2b(packed, digest_size=16).digest()
        self.rows += 1
        self.checksum = (self.checksum + int.from_bytes(digest)) % _CHECKSUM
        self.largest = max(self.largest, len(packed))

    def agrees_with(self, other: Tally) -> bool:
        return (self.rows, self.checksum) == (other.rows, other.checksum)
