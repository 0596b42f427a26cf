"""Clients that go on submitting whatever happens: one for each priority, each in a thread of its own."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.process.client import Journal, Wanted

PRIORITIES = ("HIGH", "MEDIUM", "LOW")


@dataclass
class Submitters:
    """One client for each priority, in a thread of its own, with ids of its own, at any of the ports. Every other
    submission has a key and is tried until it is answered: over a kill, too.
    """

    ports: Sequence[int]
    folder: Path
    seed: int
    pause_s: float
    journals: list[Journal] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = []
        for place, priority in enumerate(PRIORITIES):
            journal = Journal(self.folder / f"journal-{priority}.jsonl", _next=place * 10_000_000)
            self.journals.append(journal)
            threads.append(threading.Thread(target=self._submit, args=(journal, priority)))
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self.done.set()
            for each in threads:
                each.join(60)

    def _submit(self, journal: Journal, priority: str) -> None:
        chance = random.Random(f"{self.seed} {priority}")
        try:
            while not self.done.is_set():
                self._one(journal, priority, chance)
                time.sleep(chance.uniform(0, 2 * self.pause_s))
        except BaseException as error:
            self.failed.append(error)

    def _one(self, journal: Journal, priority: str, chance: random.Random) -> None:
        ids = journal.ids(chance.choice([1, 2, 3, 4, 7]))
        if chance.random() < 0.5:
            journal.submit(chance.choice(self.ports), Wanted(ids, priority))
            return
        wanted = Wanted(ids, priority, key=f"{priority}-{ids[0]}")
        while journal.submit(chance.choice(self.ports), wanted) is None:
            if self.done.is_set():
                return
            time.sleep(0.05)


def merged(folder: Path, journals: list[Journal]) -> Journal:
    """One journal of them all."""
    whole = Journal(folder / "journal.jsonl")
    written = [each.path.read_bytes() for each in journals if each.path.exists()]
    whole.path.write_bytes(b"".join(written))
    whole.cut = [each for journal in journals for each in journal.cut]
    return whole
