"""
A gate in plain lists and dicts, written from the design and not from the product: what must a claim give now?

It is slow on purpose: every question is answered by looking at everything. `now` is ledger time, which it is told;
`real` is the time of the world outside, by which it judges whether a window was ever exceeded at the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LEASE_US = 15_000_000
FATE_US = 6_000_000
"""Slack and grace: for so long after its grant a call of which nothing is known may reach the source."""
FATE_STRETCHED_US = 6_006_000
MAX_ATTEMPTS = 3
CIRCUIT_AFTER = 4
PROBE_MAX_US = 300_000_000
ASIDE = 2**61
"""Set aside: after everything that has an instant."""
RESCUES = 20

Dict = dict[str, Any]


def longer(us: int) -> int:
    """A thousandth longer, rounded up."""
    return us + (us + 999) // 1_000


def shorter(us: int) -> int:
    """A thousandth shorter, rounded down."""
    return us - (us + 999) // 1_000


def probe_after_us(failures: int) -> int:
    """How long a source was left alone after so many failures in a row."""
    return min(PROBE_MAX_US, 10_000_000 << min(40, max(0, failures - CIRCUIT_AFTER)))


def backoff_us(attempt: int) -> int:
    """Half of 2 s, doubling: what the machine's jitter of one half makes of it."""
    return 1_000_000 << (attempt - 1)


@dataclass
class Model:
    """Everything that there is."""

    now: int
    real: int = 0
    absent: bool = False
    within_us: int | None = None
    sources: dict[str, Dict] = field(default_factory=dict)
    windows: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    ingestions: list[Dict] = field(default_factory=list)
    calls: list[Dict] = field(default_factory=list)

    # -- time and configuration ------------------------------------------------------------------------------

    def advance(self, us: int) -> None:
        self.now += us
        self.real += us

    def reboot(self, *, away_us: int, now: int, believed_us: int) -> None:
        """Nobody watched: what occupied a (short) window occupies it for as long again as it would have."""
        self.real += max(0, away_us)
        self.now = now
        for call in self.calls:
            if call["u"] is not None:
                call["u"] += believed_us
        for batch in self.held():
            batch["worker"] = "of another boot"

    def configure(self, name: str, **rules: Any) -> None:
        source = self.sources.setdefault(
            name, {"quotas": [name], "blocked_until": 0, "closed_until": None}
        )
        source.update(rules)

    # -- what is queued --------------------------------------------------------------------------------------

    def submit(self, ingestion_id: str, source: str, ids: list[int], priority: int) -> None:
        size = self.sources[source]["batch_size"]
        first = {value: ids.index(value) for value in ids}
        batches: list[Dict] = []
        for start in range(0, len(ids), size):
            positions = range(start, min(start + size, len(ids)))
            own = [position for position in positions if first[ids[position]] == position]
            batches.append(self._batch(len(batches), own, {first[ids[p]] for p in positions}))
        self.ingestions.append(
            {
                "id": ingestion_id,
                "seq": len(self.ingestions) + 1,
                "source": source,
                "priority": priority,
                "ids": ids,
                "batches": batches,
                "ended": {},
                "cancelled": False,
            }
        )

    def _batch(self, number: int, own: list[int], firsts: set[int]) -> Dict:
        """`own`: positions at which an id stands for the first time; `firsts`: where its ids first stand."""
        return {
            "number": number,
            "own": own,
            "firsts": firsts,
            "todo": [own] if own else [],
            "begun": False,
            "attempt": 1,
            "fence": 0,
            "worker": None,
            "lease_until": 0,
            "due": None,
            "rescues": 0,
        }

    def line(self, source: str) -> list[tuple[Dict, Dict]]:
        """Everything of a source that a claim may take now, the first first."""
        ready = []
        for ingestion in self.ingestions:
            if ingestion["source"] == source:
                ready += [(ingestion, batch) for batch in ingestion["batches"] if self._may(batch)]
        return sorted(ready, key=lambda of: (of[0]["priority"], of[0]["seq"], of[1]["number"]))

    def _may(self, batch: Dict) -> bool:
        due = batch["due"] is None or batch["due"] <= self.now
        return bool(batch["todo"]) and batch["worker"] is None and due

    def bring_back(self, source: str) -> None:
        """Where a closed source may be probed and nothing may be taken, what would come next is the probe."""
        until = self.sources[source]["closed_until"]
        flying = any(call["flying"] for call in self.calls if call["source"] == source)
        if until is None or self.now < until or flying or self.line(source):
            return
        waiting = [
            (batch["due"], ingestion["seq"], batch["number"], batch)
            for ingestion in self.ingestions
            if ingestion["source"] == source
            for batch in ingestion["batches"]
            if batch["todo"] and batch["worker"] is None and batch["due"] is not None
        ]
        if waiting:
            min(waiting, key=lambda each: each[:3])[3]["due"] = None

    def call_back(self, source: str) -> None:
        """The source answers: what was set aside is due, and has used up an attempt."""
        for ingestion in self.ingestions:
            for batch in ingestion["batches"]:
                if ingestion["source"] == source and (batch["due"] or 0) >= ASIDE:
                    batch.update(due=self.now, attempt=batch["attempt"] + 1)

    def next_due(self, source: str) -> int | None:
        """The instant at which the first of those that back off may be taken."""
        dues = [
            batch["due"]
            for ingestion in self.ingestions
            if ingestion["source"] == source
            for batch in ingestion["batches"]
            if batch["todo"] and batch["worker"] is None and batch["due"] is not None
        ]
        return min(dues, default=None)

    def held(self, worker: str | None = None) -> list[Dict]:
        return [
            batch
            for ingestion in self.ingestions
            for batch in ingestion["batches"]
            if batch["worker"] is not None and worker in (None, batch["worker"])
        ]

    def next_ids(self, source: str, ingestion: Dict, batch: Dict) -> list[tuple[int, int]]:
        most = self.sources[source]["batch_size"]
        return [(position, ingestion["ids"][position]) for position in batch["todo"][0][:most]]

    # -- may a call be granted? ------------------------------------------------------------------------------

    def refused(self, source: str, at: int | None = None) -> str | None:
        """Why not, at an instant; None: it may."""
        at = self.now if at is None else at
        rules = self.sources[source]
        flying = sum(call["flying"] for call in self.calls if call["source"] == source)
        if rules["closed_until"] is not None and (at < rules["closed_until"] or flying):
            return "closed"
        if flying >= rules["concurrency"]:
            return "concurrency"
        if at < rules["blocked_until"]:
            return "paused"
        for quota in rules["quotas"]:
            for limit, span_us in self.windows[quota]:
                used = sum(
                    quota in call["charged"]
                    and (call["u"] is None or call["u"] + longer(span_us) > at)
                    for call in self.calls
                )
                if used + 1 > limit:
                    return "window"
        return None

    def earliest(self, source: str) -> int | None:
        """The first instant at which it may, if nothing else happens: found by trying all that can matter."""
        rules = self.sources[source]
        instants = {self.now, rules["blocked_until"], rules["closed_until"] or 0}
        for quota in rules["quotas"]:
            for _, span_us in self.windows[quota]:
                instants |= {c["u"] + longer(span_us) for c in self.calls if c["u"] is not None}
        good = [t for t in instants if t >= self.now and self.refused(source, t) is None]
        return min(good, default=None)

    def over(self, source: str) -> str | None:
        """Whether a call granted now could, at the source and by the world's clock, be one too many of a window."""
        for quota in self.sources[source]["quotas"]:
            for limit, span_us in self.windows[quota]:
                among = [
                    call
                    for call in self.calls
                    if quota in call["charged"] and call["latest"] > self.real - span_us
                ]
                if len(among) + 1 > limit:
                    return f"{len(among) + 1} of {limit} per {span_us} us of {quota}"
        return None

    # -- what happens ----------------------------------------------------------------------------------------

    def take(self, source: str, worker: str) -> Dict:
        ingestion, batch = self.line(source)[0]
        batch.update(
            begun=True,
            worker=worker,
            fence=max(batch["fence"] + 1, self.now),
            lease_until=self.now + LEASE_US,
            due=None,
        )
        call = {
            "source": source,
            "charged": set(self.sources[source]["quotas"]),
            "granted": self.now,
            "granted_real": self.real,
            "u": None,
            "latest": float("inf"),
            "flying": True,
            "ingestion": ingestion,
            "batch": batch,
            "fence": batch["fence"],
            "asked": [p for p, _ in self.next_ids(source, ingestion, batch)],
            "attempt": batch["attempt"],
            "by": worker,
            "probe": self.sources[source]["closed_until"] is not None,
        }
        self.calls.append(call)
        return call

    def still_held(self, call: Dict) -> bool:
        batch = call["batch"]
        return batch["worker"] is not None and batch["fence"] == call["fence"]

    def over_and_done(
        self,
        call: Dict,
        *,
        sent: bool = True,
        written_ago: int | None = None,
        answered_ago: int | None = None,
    ) -> None:
        """The call is no longer in flight: u, and the latest instant at which the source can have counted it."""
        call["flying"] = False
        ends = []
        if answered_ago is not None:
            ends.append((self.now - shorter(answered_ago), self.real - answered_ago))
        if written_ago is not None and self.within_us is not None:
            ends.append(
                (
                    self.now - shorter(written_ago) + self.within_us,
                    self.real - written_ago + self.within_us,
                )
            )
        if not sent:
            call["u"], call["latest"] = self.now, float("-inf")
        elif ends:
            call["u"], call["latest"] = (min(each) for each in zip(*ends, strict=True))
        else:
            call["u"] = max(call["granted"] + FATE_STRETCHED_US, self.now)
            call["latest"] = call["granted_real"] + FATE_US

    def end(self, call: Dict, endings: dict[int, str]) -> None:
        """Some ids of a call ended."""
        call["ingestion"]["ended"].update(endings)
        todo = [[p for p in group if p not in endings] for group in call["batch"]["todo"]]
        call["batch"]["todo"] = [group for group in todo if group]

    def give_back(self, call: Dict, *, attempt: int, due: int | None = None) -> None:
        """The batch goes back to its place; what is left of a cancelled one ends."""
        batch = call["batch"]
        batch.update(worker=None, attempt=attempt, due=due)
        if call["ingestion"]["cancelled"]:
            batch["todo"] = []

    def split(self, call: Dict) -> None:
        asked = call["asked"]
        half = (len(asked) + 1) // 2
        rest = [[p for p in group if p not in asked] for group in call["batch"]["todo"]]
        groups = [asked[:half], asked[half:], *rest]
        call["batch"]["todo"] = [group for group in groups if group]

    def rescue(self, worker: str, *, dead: bool) -> int:
        lost = [b for b in self.held(worker) if dead or b["lease_until"] < self.now]
        for batch in lost:
            (call,) = [
                c for c in self.calls if c["batch"] is batch and c["fence"] == batch["fence"]
            ]
            self.over_and_done(call)
            batch["rescues"] += 1
            if batch["rescues"] == RESCUES:
                self.end(call, {p: "failed" for group in batch["todo"] for p in group})
            self.give_back(call, attempt=batch["attempt"])
        return len(lost)

    def cancel(self, ingestion: Dict) -> int | None:
        """How many batches are in flight; None: it has ended otherwise."""
        if not ingestion["cancelled"] and not any(b["todo"] for b in ingestion["batches"]):
            return None
        ingestion["cancelled"] = True
        for batch in ingestion["batches"]:
            if batch["worker"] is None:
                batch["todo"] = []
        return sum(batch["worker"] is not None for batch in ingestion["batches"])

    # -- what is shown ---------------------------------------------------------------------------------------

    def counts(self, ingestion: Dict) -> dict[str, int]:
        endings = list(ingestion["ended"].values())
        left = sum(len(group) for batch in ingestion["batches"] for group in batch["todo"])
        distinct = len(set(ingestion["ids"]))
        return {
            "distinct": distinct,
            **{how: endings.count(how) for how in ("fetched", "missing", "failed")},
            "cancelled": distinct - len(endings) - left,
        }

    def status(self, ingestion: Dict) -> str:
        if any(batch["todo"] for batch in ingestion["batches"]):
            begun = ingestion["cancelled"] or any(b["begun"] for b in ingestion["batches"])
            return "triggered" if begun else "yet_to_start"
        if ingestion["cancelled"]:
            return "cancelled"
        return "failed" if "failed" in ingestion["ended"].values() else "completed"

    def batch_statuses(self, ingestion: Dict) -> list[str | None]:
        """Of each batch; None where it has nothing but repeats and their first ones have not ended."""
        return [self._batch_status(ingestion, batch) for batch in ingestion["batches"]]

    def _batch_status(self, ingestion: Dict, batch: Dict) -> str | None:
        if batch["todo"]:
            return "triggered" if batch["begun"] else "yet_to_start"
        open_ids = {p for b in ingestion["batches"] for group in b["todo"] for p in group}
        if not batch["own"] and open_ids & batch["firsts"]:
            return None
        shown = batch["own"] or batch["firsts"]
        endings = {ingestion["ended"].get(position, "cancelled") for position in shown}
        if "cancelled" in endings:
            return "cancelled"
        return "failed" if "failed" in endings else "completed"
