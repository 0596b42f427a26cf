"""What every test may use."""

from __future__ import annotations

import pytest

from tests.fakes import FakeClock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


SAID = "said"
"""The property of a report in which a test tells a figure."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Also where the tests ran in other processes (pytest-xdist)."""
    ended = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
    ]
    said = [
        str(text)
        for report in ended
        if report.when == "call"
        for name, text in report.user_properties
        if name == SAID
    ]
    if said:
        terminalreporter.section("figures of the process tests (told, not judged)")
        for each in said:
            terminalreporter.write_line(each)
