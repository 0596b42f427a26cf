"""Facts -> log lines: the only place that decides level and wording.

Nothing of a body, a header or a secret is in a fact.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from headgate.core import facts
from headgate.core.facts import Fact
from headgate.core.model import Status

LEVELS: dict[type[Fact], tuple[int, str]] = {
    facts.IngestionAccepted: (logging.DEBUG, "ingestion accepted"),
    facts.BatchClaimed: (logging.DEBUG, "batch claimed"),
    facts.BatchEnded: (logging.DEBUG, "batch ended"),  # or FAILED
    facts.BatchReturned: (logging.INFO, "batch goes back to its place in the line"),
    facts.LeaseLost: (logging.WARNING, "lease lost: what this worker brought is not stored"),
    facts.BatchRescued: (logging.WARNING, "batch of a lost worker taken back"),
    facts.SourcePaused: (logging.WARNING, "source paused"),
    facts.SourceClosed: (logging.ERROR, "source closed but for one probe at a time"),
    facts.SourceOpened: (logging.INFO, "source answers again"),
    facts.IngestionCancelled: (logging.INFO, "ingestion cancelled"),
    facts.QuotaChanged: (logging.WARNING, "quota changed by the configuration of this process"),
    facts.RulesChanged: (logging.WARNING, "rules changed by the configuration of this process"),
    facts.TimeUnwatched: (logging.WARNING, "nobody watched the time; the wall clock is believed"),
    facts.ClockStepped: (logging.WARNING, "the database's clock has stepped; ledger time has not"),
    facts.LedgerWentBack: (
        logging.ERROR,
        "the database is older than it was, and has forgotten calls: every quota is held (headgate release)",
    ),
    facts.SourceReleased: (logging.WARNING, "source released by hand"),
    facts.StoreLost: (logging.ERROR, "the database is lost"),
    facts.StoreBack: (logging.INFO, "the database answers again"),
    facts.GrantsLate: (logging.WARNING, "the database grants calls too late to make them"),
    facts.LoopFailed: (logging.ERROR, "a loop met an error and goes on"),
}

FAILED = (logging.WARNING, "batch ended, and ids of it failed for good")


def configure_logging(*, json: bool, level: str) -> None:
    """Set up the log: lines for people, or JSON for machines, on standard error."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


class Telemetry:
    """An observer of facts."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("headgate").bind()  # bound once: not anew for each fact

    def __call__(self, fact: Fact) -> None:
        level, words = _told_as(fact)
        if level > logging.DEBUG or self._log.is_enabled_for(level):
            self._tell(level, words, _details(fact))

    def say(self, words: str, **details: object) -> None:
        """A line about the process itself."""
        self._tell(logging.WARNING, words, details)

    def _tell(self, level: int, words: str, details: Mapping[str, object]) -> None:
        with suppress(OSError, ValueError):  # a log that is full or closed stops nobody
            self._log.log(level, words, **details)


def _told_as(fact: Fact) -> tuple[int, str]:
    if isinstance(fact, facts.BatchEnded) and fact.status is Status.FAILED:
        return FAILED
    return LEVELS[type(fact)]


def _details(fact: Fact) -> dict[str, Any]:
    values = {field.name: getattr(fact, field.name) for field in dataclasses.fields(fact)}
    return dict(_shown(name, value) for name, value in values.items() if value != "")


def _shown(name: str, value: object) -> tuple[str, object]:
    """Spans are told in seconds, since people read them."""
    if isinstance(value, int) and name.endswith("_us"):
        return name.removesuffix("us") + "s", round(value / 1_000_000, 3)
    if isinstance(value, BaseException):
        return name, f"{type(value).__name__}: {value}{_where(value)}"
    return name, value


def _where(error: BaseException) -> str:
    """The line that raised it; no values, which may be secrets."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
