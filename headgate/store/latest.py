"""How far ledger time is, as far as this process knows it to be committed: what a store must not fall behind."""

from __future__ import annotations

from collections.abc import Iterable

Shown = tuple[str, str, int]
"""A quota, an epoch, and an instant of the quota's ledger time in that epoch."""


class Latest:
    """The latest instant of each quota's ledger time that was committed here, or seen to be, with its epoch."""

    def __init__(self) -> None:
        self._by_quota: dict[str, tuple[str, int]] = {}

    def of(self, quota: str, epoch: str | None) -> int:
        """0 for a quota of which nothing is known, or nothing in this epoch; None for whichever it was."""
        of, at = self._by_quota.get(quota, ("", 0))
        return at if epoch in {None, of} else 0

    def keep(self, shown: Iterable[Shown]) -> None:
        """Remember instants that are committed."""
        for quota, epoch, at in shown:
            self._by_quota[quota] = epoch, max(at, self.of(quota, epoch))
