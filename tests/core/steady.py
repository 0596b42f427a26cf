"""Hypothesis as the core's tests run it: the same examples every time, nothing remembered, no clock watched."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

SEEN_IS_ENOUGH = "HEADGATE_MUTANTS" in os.environ
"""Set by tests/mutants/run.py: there a failure need only be seen, not shrunk to its smallest form."""


def steady(examples: int = 100) -> settings:
    """The settings of one property."""
    phases = (Phase.explicit, Phase.generate) if SEEN_IS_ENOUGH else tuple(Phase)
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow],
    )
