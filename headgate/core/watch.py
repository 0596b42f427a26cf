"""The watch over a database's clock, which may step (NTP, a fail-over, a machine that slept): DESIGN §5.3.

Each process compares ledger time, as the database's clock and the offset make it, with every look of its own in
the last 30 s. Between two looks ledger time may have moved by no more than the process's own boot-time clock did
from before the older one was asked for to after the newer one came, and by no less than from after the older one
came to before the newer one was asked for; clock rates may differ by DRIFT_PPM. Else the database's clock has
stepped, and the offset takes the bound. Compared is ledger time and not the clock, so that two who watch the same
step do not both put it right.

Whoever has just arrived has nothing to compare with. It moves no clock and is not to be trusted until somebody
who was there before has touched the clock after its first look, and it has seen no step itself since. Where nobody
touches the clock for 3 s, nobody has been watching.
"""

from __future__ import annotations

from collections import deque

from headgate.core.clock import Newcomer, Offset, Reading, Unwatched

KEPT_US = 30_000_000
"""How long a look is compared with."""

ALONE_US = 3_000_000
"""So long without a touch means that nobody was watching."""

DRIFT_PPM = 500
"""How fast the database's clock may run against ours without having stepped: what NTP slews by. Half of rho."""

TRIPS_KEPT_US = 1_200_000_000
"""How long round trips are remembered: for windows up to 10 minutes. Beyond, rho is longer than any of them."""

_SECOND = 1_000_000
_MILLION = 1_000_000


class _Looks:
    """The looks of the last 30 s, of which only those are kept that may still be the tightest bound."""

    def __init__(self) -> None:
        self._latest: deque[tuple[int, int]] = deque()
        self._earliest: deque[tuple[int, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._latest)

    def clear(self) -> None:
        self._latest.clear()
        self._earliest.clear()

    def add(self, reading: Reading, offset: Offset) -> None:
        ledger = (reading.reference_us + offset.offset_us) * _MILLION
        latest = ledger - reading.asked_us * (_MILLION + DRIFT_PPM)
        earliest = ledger - reading.came_us * (_MILLION - DRIFT_PPM)
        while self._latest and self._latest[-1][1] >= latest:
            self._latest.pop()
        while self._earliest and self._earliest[-1][1] <= earliest:
            self._earliest.pop()
        self._latest.append((reading.came_us, latest))
        self._earliest.append((reading.came_us, earliest))

    def forget_before(self, instant_us: int) -> None:
        for bound in (self._latest, self._earliest):
            while bound and bound[0][0] < instant_us:
                bound.popleft()

    def fitting(self, reading: Reading, offset: Offset) -> int:
        """Ledger time of a reading, moved into what the looks allow."""
        latest = self._latest[0][1] + reading.came_us * (_MILLION + DRIFT_PPM)
        earliest = self._earliest[0][1] + reading.asked_us * (_MILLION - DRIFT_PPM)
        ledger = reading.reference_us + offset.offset_us
        return min(max(ledger, earliest // _MILLION), -(-latest // _MILLION))


class DatabaseWatch:
    """What one process has seen of the database's clock."""

    def __init__(self) -> None:
        self._epoch: str | None = None
        self._looks = _Looks()
        self._trusted = False
        self._touches_at_first: int | None = None
        self._touches = 0
        self._touched_us = 0
        self._trips: deque[tuple[int, int]] = deque()

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        """The offset to go by, moved to the bound if the clock has stepped; never moved by a newcomer."""
        self._note_trip(reading)
        self._looks.forget_before(reading.asked_us - KEPT_US)
        if known.epoch != self._epoch or not self._looks:
            self._arrive(reading, known, touches)
            return Newcomer(known)
        moved = self._looks.fitting(reading, known) - reading.reference_us
        if self._trusted:
            return Offset(known.epoch, moved)
        if moved != known.offset_us:  # a step, and nobody can say yet who has put it right
            self._arrive(reading, known, touches)
            return Newcomer(known)
        self._looks.add(reading, known)
        return self._grown(reading, known, touches)

    def believe(self, reading: Reading, offset: Offset) -> None:
        """Compare later readings with this one. Who begins an epoch is trusted in it."""
        if offset.epoch != self._epoch:
            self._epoch, self._trusted = offset.epoch, True
            self._looks.clear()
        if self._trusted:
            self._looks.add(reading, offset)

    def margin_us(self, span_us: int) -> int:
        """Twice the longest round trip of the last two spans: so much may a step have gone unseen."""
        if not self._trips:
            return 0
        since = self._trips[-1][0] - min(2 * span_us, TRIPS_KEPT_US) // _SECOND - 1
        longest = 0
        for second, trip in reversed(self._trips):
            if second < since:
                break
            longest = max(longest, trip)
        return 2 * longest

    def _note_trip(self, reading: Reading) -> None:
        second, trip = reading.came_us // _SECOND, reading.came_us - reading.asked_us
        if self._trips and self._trips[-1][0] == second:
            trip = max(trip, self._trips.pop()[1])
        self._trips.append((second, trip))
        while self._trips[0][0] < second - TRIPS_KEPT_US // _SECOND:
            self._trips.popleft()

    # -- newcomers -----------------------------------------------------------------------------------------

    def _arrive(self, reading: Reading, known: Offset, touches: int) -> None:
        self._epoch, self._trusted = known.epoch, False
        self._looks.clear()
        self._looks.add(reading, known)
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
            self._trusted = True
            return known
        if reading.asked_us - self._touched_us >= ALONE_US:
            return Unwatched()
        return Newcomer(known)
