"""The watch over a database's clock, which may step (NTP, a fail-over, a machine that slept): docs/decisions/0018.

Each process compares ledger time, as the database's clock and the offset make it, with every look of its own in
the last 30 s. Between two looks ledger time may have moved by no more than the process's own boot-time clock did
from before the older one was asked for to after the newer one came, and by no less than from after the older one
came to before the newer one was asked for; clock rates may differ by DRIFT_PPM. Else the database's clock has
stepped, and the offset takes the bound. Compared is ledger time and not the clock, so that two who watch the same
step do not both put it right; and where two disagree, the lower one stands.

Whoever has just arrived has nothing to compare with. It moves no clock and is not to be trusted until somebody
who was there before has touched the clock after its first look, and it has seen no step itself since. Where nobody
touches the clock for 3 s, nobody has been watching.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from headgate.core.clock import Newcomer, Offset, Reading, Unwatched
from headgate.core.quota import stretched

KEPT_US = 30_000_000
"""How long a look is compared with."""

ALONE_US = 3_000_000
"""So long without a touch means that nobody was watching."""

DRIFT_PPM = 500
"""How fast the database's clock may run against ours without having stepped: what NTP slews by. Half of rho."""

RATES_PPM = 600
"""How far the rates of two hosts' own clocks may differ."""

SLOW_US = 250_000
"""A look that took longer is good for an estimate only."""

YIELDS_US = 2_000_000
"""Up to so much below one's own lower bound, what somebody else has made of the offset is accepted."""

KEPT_LONGEST_US = 1_200_000_000
"""How long round trips and pauses are remembered: for windows up to 10 minutes. Beyond, rho is longer than they."""

_SECOND = 1_000_000
_MILLION = 1_000_000


class DatabaseWatch:
    """What one process has seen of the database's clock."""

    def __init__(self) -> None:
        self._epoch: str | None = None
        self._believed: Offset | None = None
        self._looks = _Looks()
        self._trusted = False
        self._arrived_us: int | None = None
        self._touches_at_first: int | None = None
        self._touches = 0
        self._touched_us = 0
        self._looked_us: int | None = None
        self._trips = _Longest()
        self._pauses = _Longest()

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        """The offset to go by, moved to the bound if the clock has stepped; never moved by a newcomer."""
        if reading.came_us - reading.asked_us > SLOW_US:
            return Newcomer()
        self._note(reading)
        self._looks.forget_before(reading.asked_us - KEPT_US)
        if known.epoch != self._epoch or not self._looks:
            self._arrive(reading, known, touches)
            return Newcomer()
        if self._trusted:
            if known != self._believed:
                self._looks.yield_to(reading, known)
            return Offset(known.epoch, self._looks.fitting(reading, known))
        if self._looks.fitting(reading, known) != known.offset_us:
            self._arrive(reading, known, touches)  # a step: nobody can say yet who has put it right
            return Newcomer()
        self._looks.add(reading, known)
        return self._grown(reading, known, touches)

    def believe(self, reading: Reading, offset: Offset) -> None:
        """Compare later readings with this one. Who begins an epoch is trusted in it.

        Nobody else comes here untrusted: another look of this process may have met the new epoch, as a newcomer,
        before it was known here that our own commit had begun it.
        """
        if offset.epoch != self._epoch or not self._trusted:
            self._epoch, self._trusted = offset.epoch, True
            self._looks.clear()
        self._looks.add(reading, offset)
        self._believed = offset

    def margin_us(self, span_us: int) -> int:
        """By how much a step may have gone unseen for a window of this span.

        Twice the longest round trip, and what drift is allowed over the longest pause between two looks; and where
        the window begins before one's own watch, twice what the slowest watcher cannot tell.
        """
        if self._looked_us is None:
            return 0
        since = self._looked_us - max(KEPT_US, min(2 * span_us, KEPT_LONGEST_US))
        drift_us = self._pauses.since(since) * (2 * DRIFT_PPM + RATES_PPM) // _MILLION
        new = self._arrived_us is not None and (
            self._looked_us - self._arrived_us <= stretched(span_us)
        )
        return 2 * self._trips.since(since) + drift_us + (2 * SLOW_US if new else 0)

    def _note(self, reading: Reading) -> None:
        """How long looking took, and how long nobody here had looked."""
        if self._looked_us is not None:
            self._pauses.add(reading.came_us, reading.came_us - self._looked_us)
        self._trips.add(reading.came_us, reading.came_us - reading.asked_us)
        self._looked_us = reading.came_us

    # -- newcomers -----------------------------------------------------------------------------------------

    def _arrive(self, reading: Reading, known: Offset, touches: int) -> None:
        self._epoch, self._trusted = known.epoch, False
        self._looks.clear()
        self._looks.add(reading, known)
        self._arrived_us = reading.asked_us
        self._touches_at_first = None
        self._touches, self._touched_us = touches, reading.came_us

    def _grown(
        self, reading: Reading, known: Offset, touches: int
    ) -> Offset | Unwatched | Newcomer:
        """Trusted after two touches beyond what a later look than the first one has seen.

        The first of them may have looked at the clock before we did; the second has the clock's row after it.
        """
        if touches != self._touches:
            self._touches, self._touched_us = touches, reading.came_us
        if self._touches_at_first is None:
            self._touches_at_first = touches
        if touches >= self._touches_at_first + 2:
            self._trusted, self._believed = True, known
            return known
        if reading.asked_us - self._touched_us >= ALONE_US:
            return Unwatched()
        return Newcomer()


class _Looks:
    """What the looks of the last 30 s allow."""

    def __init__(self) -> None:
        self._latest = _Least()
        self._earliest = _Least()  # negated

    def __bool__(self) -> bool:
        return bool(self._latest)

    def clear(self) -> None:
        self._latest, self._earliest = _Least(), _Least()

    def add(self, reading: Reading, offset: Offset) -> None:
        ledger = (reading.reference_us + offset.offset_us) * _MILLION
        self._latest.add(reading.came_us, ledger - reading.asked_us * (_MILLION + DRIFT_PPM))
        self._earliest.add(reading.came_us, reading.came_us * (_MILLION - DRIFT_PPM) - ledger)

    def forget_before(self, instant_us: int) -> None:
        self._latest.forget_before(instant_us)
        self._earliest.forget_before(instant_us)

    def fitting(self, reading: Reading, known: Offset) -> int:
        """The offset with which a reading fits the looks: the known one, or that of the bound; rounded down."""
        latest = self._latest.least + reading.came_us * (_MILLION + DRIFT_PPM)
        ledger = reading.reference_us + known.offset_us
        fits = min(max(ledger, self._earliest_for(reading)), latest // _MILLION)
        return fits - reading.reference_us

    def yield_to(self, reading: Reading, offset: Offset) -> None:
        """Somebody else has moved the offset: where that is a little lower than our looks allow, they no longer say so.

        Else two whose looks exclude each other would move it up and down for as long as they remember.
        """
        below = self._earliest_for(reading) - (reading.reference_us + offset.offset_us)
        if 0 < below < YIELDS_US:
            self._earliest = _Least()
            ledger = (reading.reference_us + offset.offset_us) * _MILLION
            self._earliest.add(reading.came_us, reading.came_us * (_MILLION - DRIFT_PPM) - ledger)

    def _earliest_for(self, reading: Reading) -> int:
        return (reading.asked_us * (_MILLION - DRIFT_PPM) - self._earliest.least) // _MILLION


class _Least:
    """The least of some numbers, each known since an instant; only those are kept that may be the least one day."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def least(self) -> int:
        return self._kept[0][1]

    def add(self, at: int, number: int) -> None:
        """In any order of instants: a transaction that looked earlier may be committed later."""
        end = bisect_left(self._kept, (at + 1,))
        if end < len(self._kept) and self._kept[end][1] <= number:
            return
        start = end
        while start and self._kept[start - 1][1] >= number:
            start -= 1
        if start == end and start and self._kept[start - 1][0] == at:
            return
        self._kept[start:end] = [(at, number)]

    def forget_before(self, instant: int) -> None:
        del self._kept[: bisect_left(self._kept, (instant,))]


class _Longest:
    """The longest of some durations since an instant, by the second."""

    def __init__(self) -> None:
        self._by_second: deque[tuple[int, int]] = deque()

    def add(self, at_us: int, duration_us: int) -> None:
        second = at_us // _SECOND
        if self._by_second and self._by_second[-1][0] >= second:
            second, before = self._by_second.pop()
            duration_us = max(duration_us, before)
        self._by_second.append((second, duration_us))
        while self._by_second[0][0] < second - KEPT_LONGEST_US // _SECOND - 1:
            self._by_second.popleft()

    def since(self, instant_us: int) -> int:
        longest = 0
        for second, duration_us in reversed(self._by_second):
            if second < instant_us // _SECOND:
                break
            longest = max(longest, duration_us)
        return longest
