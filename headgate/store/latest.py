"""How far ledger time is, as far as this process knows it to be committed: what a store must not fall behind."""

from __future__ import annotations

from collections.abc import Iterable


class Latest:
    """The latest instant of each quota's ledger time that was committed here, or seen to be."""

    def __init__(self) -> None:
        self._by_quota: dict[str, int] = {}

    def of(self, quota: str) -> int:
        """0 for a quota of which nothing is known."""
        return self._by_quota.get(quota, 0)

    def keep(self, shown: Iterable[tuple[str, int]]) -> None:
        """Remember instants that are committed."""
        for quota, at in shown:
            self._by_quota[quota] = max(at, self.of(quota))
