"""One queue on one PostgreSQL: what is done to its processes, and when."""

from __future__ import annotations

import http
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from scripts.demo.machines.crew import Crew, Member
from scripts.demo.machines.scene import (
    LATENCY_US,
    SLOT_US,
    MachinesScene,
    Request,
    WorkerCall,
    checked,
    out,
)
from scripts.demo.machines.screen import draw, height
from scripts.demo.machines.words import news
from scripts.demo.processes import Exchange, accepted, closed, stands
from scripts.demo.show import See, Show
from scripts.demo.stage import Patience, Stage
from scripts.demo.values import Batch, Broken, Check, Ids, Life

PATIENCE = Patience(step_s=25.0, whole_s=80.0)

TRUSTED_US = 3_300_000
"""Who has watched the database's clock for 3 s, and has met nobody who knows it better, is trusted with it."""

LOW_AT_US = 800_000
HIGH_AT_US = 1_600_000
STRIKE_US = (450_000, 650_000)
"""So long after a call its worker is killed: it has told the ledger that it called, and has no answer yet."""
SOON_US = 400_000
TRIES_US = 800_000
DEAD_FOR_US = 3_000_000


class Machines(Show[MachinesScene]):
    """`make demo MACHINES=3`."""

    subject = (
        "Calls of several workers, 2 s and more apart, HIGH before LOW,"
        " while one of them and then the database is killed and started again"
    )

    def __init__(self, workers: int) -> None:
        self.first = MachinesScene(workers=dict.fromkeys(range(1, workers + 1), ()))
        self.height = height(workers)

    def play(self, folder: Path, see: See[MachinesScene]) -> MachinesScene:
        with closed(Crew(folder, len(self.first.workers))) as crew:
            return play(Floor(crew, self.first, see))

    def checked(self, scene: MachinesScene) -> tuple[Check, ...]:
        return checked(scene)

    def draw(self, scene: MachinesScene) -> RenderableType:
        return draw(scene)

    def news(self, before: MachinesScene, after: MachinesScene) -> Iterator[str]:
        return news(before, after)


class Floor(Stage[MachinesScene]):
    """Where all of them work. Nothing is waited for without looking: a dead database answers nobody."""

    def __init__(self, crew: Crew, first: MachinesScene, see: See[MachinesScene]) -> None:
        super().__init__(first, see, PATIENCE)
        self._crew = crew
        self._submitting: dict[Ids, Exchange] = {}
        self._asking: dict[str, Exchange] = {}

    # -- what is done ------------------------------------------------------------------------------

    def open(self) -> None:
        """Start everybody, and wait until they would do their work."""
        self.show(self.scene)
        database = self._crew.database
        database.make(lambda made: self.watch(made, what="the database's files are made"))
        self.start_database()
        self._crew.source.start()
        for each in self._crew.members:
            each.start()
        self.watch(self._crew.source.came_up, what="the source listens")
        self._wait_for(self._crew.api)
        self.show(replace(self.scene, api=(Life(self._crew.api.pid, ready_us=self.now_us),)))
        for number, worker in self._crew.workers.items():
            self._wait_for(worker)
            self._add_life(number)
        trusted_us = self.clock_us() + TRUSTED_US
        self.watch(lambda: self.clock_us() >= trusted_us, what="the clock was watched")

    def submit(self, ids: Ids, priority: str) -> None:
        """Hand in ids, and do not wait for the answer."""
        self.begin()
        document = {"ids": ids, "priority": priority}
        request = Request("", ids, priority, self.now_us)
        try:
            self._submitting[ids] = Exchange(self._crew.api.port, "POST", "/ingest", document)
        except OSError as error:
            raise Broken(f"nobody takes POST /ingest: {error}") from error
        self.show(replace(self.scene, requests=(*self.scene.requests, request)))

    def kill_worker(self, number: int) -> None:
        at_us = self.now_us
        self._crew.workers[number].kill()
        lives = _killed(self.scene.workers[number], at_us)
        self.show(replace(self.scene, workers={**self.scene.workers, number: lives}))

    def start_worker(self, number: int) -> None:
        worker = self._crew.workers[number]
        worker.start()
        self._wait_for(worker)
        self._add_life(number)

    def kill_database(self) -> None:
        at_us = self.now_us
        self._crew.database.kill()
        self.show(replace(self.scene, database=_killed(self.scene.database, at_us)))

    def start_database(self) -> None:
        database = self._crew.database
        started_us = self.now_us
        database.start()
        self.watch(database.ready, what="the database is ready")
        life = Life(database.pid, ready_us=self.now_us, started_us=started_us)
        self.show(replace(self.scene, database=(*self.scene.database, life)))

    def close(self) -> None:
        """Ask for every record, and look a last time."""
        ids = tuple(id_ for each in self.scene.requests for id_ in self._stored(each))
        self.show(replace(self.scene, stored=ids))
        self.end()

    # -- what is seen ------------------------------------------------------------------------------

    def clock_us(self) -> int:
        """The boot-time clock, since that is what the source's journal has."""
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000

    def looked(self) -> MachinesScene:
        self._assert_alive()
        calls = tuple(
            replace(call, at_us=call.at_us - self.origin_us) for call in self._crew.source.calls()
        )
        requests = tuple(map(self._as_it_stands, self.scene.requests))
        return replace(self.scene, calls=calls, requests=requests)

    def last_words(self) -> str:
        return self._crew.last_words()

    def _assert_alive(self) -> None:
        """Of those that are up as far as the scene knows."""
        if self.scene.database and not self.scene.database_dead:
            self._crew.database.assert_alive()
        for number, lives in self.scene.workers.items():
            if lives and lives[-1].killed_us is None:
                self._crew.workers[number].assert_alive()
        if self.scene.api:
            self._crew.api.assert_alive()

    def _as_it_stands(self, request: Request) -> Request:
        if request.answered_us is None:
            return self._as_answered(request)
        said = self._status(request.ingestion_id) if not request.ended else None
        if said is None:
            return request
        batches = tuple(Batch(tuple(each["ids"]), each["status"]) for each in said["batches"])
        return replace(request, status=said["status"], batches=batches)

    def _as_answered(self, request: Request) -> Request:
        try:
            answer = self._submitting[request.ids].answer()
        except OSError as error:
            raise Broken(f"POST /ingest got no answer: {error}") from error
        if answer is None:
            return request
        return replace(request, ingestion_id=accepted(*answer), answered_us=self.now_us)

    def _status(self, ingestion_id: str) -> dict[str, Any] | None:
        """What was said to the question that was asked some looks ago; None while nothing is."""
        try:
            if ingestion_id not in self._asking:
                path = f"/status/{ingestion_id}"
                self._asking[ingestion_id] = Exchange(self._crew.api.port, "GET", path)
            answer = self._asking[ingestion_id].answer()
        except OSError:
            answer = http.HTTPStatus.SERVICE_UNAVAILABLE, b""
        if answer is None:
            return None
        self._asking.pop(ingestion_id, None)
        return stands(*answer)

    def _stored(self, request: Request) -> Iterator[int]:
        """The ids of an ingestion's records."""
        path = f"/v1/ingestions/{request.ingestion_id}/records?format=ndjson"
        try:
            code, body = self._crew.api.ask("GET", path)
        except OSError as error:
            raise Broken(f"the records cannot be had: {error}") from error
        if code != http.HTTPStatus.OK:
            raise Broken(f"the records cannot be had: {code} {body!r}")
        lines = map(json.loads, body.splitlines())
        return (line["record"]["id"] for line in lines if line["ending"] == "fetched")

    def _wait_for(self, member: Member) -> None:
        self.watch(member.came_up, what=f"{member.name} is ready")

    def _add_life(self, number: int) -> None:
        born = Life(self._crew.workers[number].pid, ready_us=self.now_us)
        lives = (*self.scene.workers[number], born)
        self.show(replace(self.scene, workers={**self.scene.workers, number: lives}))


def _killed(lives: tuple[Life, ...], at_us: int) -> tuple[Life, ...]:
    *before, last = lives
    return (*before, replace(last, killed_us=at_us))


# -- what happens ----------------------------------------------------------------------------------


def play(floor: Floor) -> MachinesScene:
    """The worked example and a few more, while a worker is killed, and then the database."""
    floor.open()
    floor.submit((1, 2, 3, 4, 5), "MEDIUM")
    floor.watch(floor.reached(LOW_AT_US), what="it is time for LOW")
    floor.submit(tuple(range(10, 19)), "LOW")
    floor.watch(floor.reached(HIGH_AT_US), what="it is time for HIGH")
    floor.submit((6, 7, 8, 9), "HIGH")
    a_worker_is_killed(floor)
    the_database_is_killed(floor)
    floor.watch(lambda: all(each.ended for each in floor.scene.requests), what="all is fetched")
    floor.close()
    return floor.scene


def a_worker_is_killed(floor: Floor) -> None:
    floor.watch(lambda: _to_strike(floor.scene) is not None, what="a call is out")
    victim = _to_strike(floor.scene)
    assert victim is not None
    floor.kill_worker(victim.worker)
    floor.watch(lambda: floor.scene.rescued is not None, what="another makes the dead one's call")
    floor.start_worker(victim.worker)


def the_database_is_killed(floor: Floor) -> None:
    floor.watch(lambda: _between_calls(floor.scene), what="a call is answered, the next not near")
    floor.kill_database()
    floor.watch(floor.reached(floor.scene.now_us + TRIES_US), what="a client comes")
    floor.submit((19, 20, 21), "HIGH")
    until_us = floor.scene.now_us + DEAD_FOR_US - TRIES_US
    floor.watch(floor.reached(until_us), what="it is time to start the database again")
    floor.start_database()


def _to_strike(scene: MachinesScene) -> WorkerCall | None:
    """Not the first call: whose death is to be seen is one of several in line."""
    last = scene.calls[-1] if len(scene.calls) >= 2 else None
    if last is None or not STRIKE_US[0] <= scene.now_us - last.at_us <= STRIKE_US[1]:
        return None
    return last


def _between_calls(scene: MachinesScene) -> bool:
    """What is out when the database dies is settled later; the demo shows the plain case, in the middle of LOW."""
    last = scene.calls[-1]
    quiet = LATENCY_US < scene.now_us - last.at_us < SLOT_US - SOON_US and not out(scene)
    return quiet and scene.priority_of(last.ids) == "LOW" and bool(scene.waiting)
