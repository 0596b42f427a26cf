"""A power cut, without cutting the power: what was written and not yet flushed is lost, in whole or in part.

Every write, flush and answer of a running server is recorded in its order by strace. A cut at any place in that
record leaves the files as they were at their last flush, plus whichever later writes one likes to let survive.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tests.process.faults import traced

CALLS = "pwrite64,ftruncate,fdatasync,fsync,sendto"
_LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")
_FILE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})+)>, ?(.*)$|^\d+<((?:\\x[0-9a-f]{2})+)>(.*)$")
_DATA = re.compile(r'^"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?, (\d+)(?:, (\d+))?')
_ANSWER = re.compile(rb'"ingestion_id": ?"([0-9a-f-]{36})"')


@dataclass(frozen=True)
class Write:
    file: str
    data: bytes
    at: int


@dataclass(frozen=True)
class Truncate:
    file: str
    size: int


@dataclass(frozen=True)
class Flush:
    """`begun`: how many events were there when the flush was asked for; what came later it did not flush."""

    file: str
    begun: int


@dataclass(frozen=True)
class Answered:
    ingestion_id: str


@dataclass(frozen=True)
class Called:
    """The source was sent a request."""


Event = Write | Truncate | Flush | Answered | Called


@dataclass
class Record:
    """Everything that mattered, in its order, from a state of the files on."""

    before: dict[str, bytes]
    events: list[Event] = field(default_factory=list)

    def promised(self, cut: int) -> tuple[set[str], int]:
        """Which ingestions had been answered by then, and how often the source had been called."""
        seen = self.events[:cut]
        answered = {each.ingestion_id for each in seen if isinstance(each, Answered)}
        return answered, sum(isinstance(each, Called) for each in seen)

    def files_after(self, cut: int, survivors: float, chance: random.Random) -> dict[str, bytes]:
        """The files as a power cut there leaves them; of what was not flushed this share survives, by chance."""
        flushed: dict[str, int] = {}
        for event in self.events[:cut]:
            if isinstance(event, Flush):
                flushed[event.file] = max(event.begun, flushed.get(event.file, 0))
        files = {name: bytearray(data) for name, data in self.before.items()}
        for place, event in enumerate(self.events[:cut]):
            if isinstance(event, Write | Truncate):
                safe = place < flushed.get(event.file, 0)
                if safe or chance.random() < survivors:
                    _apply(files.setdefault(event.file, bytearray()), event)
        return {name: bytes(data) for name, data in files.items()}


def _apply(file: bytearray, event: Write | Truncate) -> None:
    if isinstance(event, Truncate):
        del file[event.size :]
        file.extend(bytes(event.size - len(file)))
        return
    file.extend(bytes(max(0, event.at - len(file))))
    file[event.at : event.at + len(event.data)] = event.data


def recording(pid: int, log: Path) -> AbstractContextManager[None]:
    """Record what a process does while the `with` lasts."""
    return traced(pid, ["-y", "-xx", "-s", "70000", "-e", f"trace={CALLS}"], log)


def read(log: Path, before: dict[str, bytes]) -> Record:
    """Make sense of a record."""
    record = Record(before)
    begun: dict[str, tuple[str, int]] = {}
    for line in log.read_text().splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, resumed, name, rest = match.groups()
        if rest.endswith("<unfinished ...>"):
            begun[thread] = rest.removesuffix("<unfinished ...>"), len(record.events)
            continue
        place = len(record.events)
        if resumed:
            name, (started, place) = resumed, begun.pop(thread, ("", place))
            rest = started + rest
        if " = -1 " not in rest:
            record.events += _events(str(name), rest, place)
    return record


def _events(name: str, rest: str, begun: int) -> Iterator[Event]:
    match = _FILE.match(rest)
    if match is None:
        return
    file = Path(_bytes(match[1] or match[3]).decode(errors="replace")).name
    rest = match[2] if match[1] else match[4]
    match name:
        case "fdatasync" | "fsync":
            yield Flush(file, begun)
        case "ftruncate":
            yield Truncate(file, int(re.match(r"\d+", rest)[0]))  # type: ignore[index]
        case "pwrite64" if not file.endswith("-shm"):
            data = _DATA.match(rest)
            assert data is not None, rest[:200]
            assert not data[2], "a write was longer than what was recorded of it"
            yield Write(file, _bytes(data[1]), int(data[4]))
        case "sendto":
            data = _DATA.match(rest)
            sent = _bytes(data[1]) if data else b""
            if sent.startswith(b"GET /items"):
                yield Called()
            elif answer := _ANSWER.search(sent):
                yield Answered(answer[1].decode())


def _bytes(hexed: str) -> bytes:
    return bytes.fromhex(hexed.replace("\\x", ""))


def interesting_cuts(record: Record, count: int, chance: random.Random) -> Sequence[int]:
    """Right before and after flushes and answers, and anywhere."""
    places = deque(
        place + after
        for place, event in enumerate(record.events)
        if not isinstance(event, Write)
        for after in (0, 1)
    )
    anywhere = range(len(record.events) + 1)
    chosen = chance.sample(places, min(len(places), count // 2))
    return sorted({*chosen, *chance.sample(anywhere, min(len(anywhere), count - count // 2))})
