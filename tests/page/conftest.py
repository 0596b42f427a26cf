"""A real server in its own process, and a real browser that looks at its page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.page.gate import DEADLINE_S, Gate, Look

CHROMIUMS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """
    The system's Chromium. A module's own: while Playwright is there, its loop is this thread's running one,
    which asynchronous tests of other modules could not bear.
    """
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip(
            f"NOT TESTED: the page in a browser. There is none of {', '.join(CHROMIUMS)}: apt-get install chromium"
        )
    expect.set_options(timeout=DEADLINE_S * 1_000)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """A fresh window."""
    looking = Look(browser.new_context())
    yield looking
    looking.close()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Gate]]:
    """Start a server of this configuration on a fresh file; at the end all of them are gone."""
    started: list[Gate] = []

    def start(configuration: str, *command: str, **environ: str) -> Gate:
        gate = Gate(tmp_path_factory.mktemp("gate"), configuration, environ, command or ("serve",))
        started.append(gate)
        gate.start()
        return gate

    yield start
    for gate in started:
        gate.end()
