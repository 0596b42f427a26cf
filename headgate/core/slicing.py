"""Ids -> chunks -> batches, in the order given; repeats; and which positions of a batch are still to do.

An ingestion is a list with a cursor: batch k is the positions k*size ... (k+1)*size of the list. Ids are stored
in chunks of about 300, always a whole number of batches, so that a claim reads one chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from headgate.core.ids import Id

CHUNK_IDS = 300

AT_ONCE = 10_000
"""A long list is looked through in steps of so many ids, between which other threads may run."""

Todo = tuple[tuple[int, ...], ...]
"""Groups of positions still to do, each for calls of its own; the first is next."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some ids of the list from position `start` on; `repeats` maps an offset in it to the id's first position."""

    start: int
    ids: Sequence[Id]
    repeats: dict[int, int]

    @property
    def distinct(self) -> int:
        return len(self.ids) - len(self.repeats)


def chunk_length(size: int) -> int:
    """How many ids a full chunk holds: whole batches of `size`, about 300 ids, at least one batch."""
    return size * max(1, CHUNK_IDS // size)


def batch_count(ids: int, size: int) -> int:
    return -(-ids // size)


def chunks(ids: Sequence[Id], size: int) -> Iterator[Chunk]:
    """Cut a list into chunks, lazily, with every repeat of an id marked by the position where it first stood."""
    length = chunk_length(size)
    first = _first_positions(ids)
    for start in range(0, len(ids), length):
        part = ids[start : start + length]
        yield Chunk(start, part, {} if first is None else _repeats(part, start, first))


def _first_positions(ids: Sequence[Id]) -> dict[Id, int] | None:
    """Where each id first stands; None if nothing repeats, which is the usual case and four times cheaper to see."""
    seen: set[Id] = set()
    for start in range(0, len(ids), AT_ONCE):
        seen.update(ids[start : start + AT_ONCE])
    if len(seen) == len(ids):
        return None
    first: dict[Id, int] = {}
    for position, value in enumerate(ids):
        first.setdefault(value, position)
    return first


def _repeats(part: Sequence[Id], start: int, first: dict[Id, int]) -> dict[int, int]:
    return {
        offset: first[value] for offset, value in enumerate(part) if first[value] != start + offset
    }


def batch_positions(number: int, size: int, ids: int) -> range:
    """The positions of batch `number` in a list of `ids` ids."""
    return range(number * size, min((number + 1) * size, ids))


def next_call(todo: Todo, most: int) -> tuple[int, ...]:
    """The positions that the next call is for: the first of the first group, at most `most`."""
    return todo[0][:most]


def left_to_do(todo: Todo, done: frozenset[int]) -> Todo:
    """What is left after some positions ended: groups keep their order, empty ones go."""
    groups = (tuple(p for p in group if p not in done) for group in todo)
    return tuple(group for group in groups if group)


def split(todo: Todo, called: Sequence[int]) -> Todo:
    """Replace what was just called by its two halves, before the rest: a poison id is found by bisection."""
    middle = (len(called) + 1) // 2
    halves = (tuple(called[:middle]), tuple(called[middle:]))
    return (*filter(None, halves), *left_to_do(todo, frozenset(called)))


def batch_id(ingestion_id: str, number: int) -> str:
    """The UUID of a batch, derived from its place, so that it is the same before the batch has a row."""
    return batch_ids(ingestion_id)(number)


def batch_ids(ingestion_id: str) -> Callable[[int], str]:
    """The UUID of each batch of an ingestion by its number.

    Version 5 (RFC 9562): SHA-1 over the ingestion's UUID as the namespace and the number as the name.
    """
    namespace = hashlib.sha1(  # noqa: S324 - UUIDv5 is defined by SHA-1; nothing is protected by it
        bytes.fromhex(ingestion_id.replace("-", ""))
    )

    def id_of(number: int) -> str:
        named = namespace.copy()
        named.update(b"%d" % number)
        digest = named.hexdigest()
        variant = "89ab"[int(digest[16], 16) & 3]
        return (
            f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
        )

    return id_of
