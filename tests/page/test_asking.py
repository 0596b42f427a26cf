"""How the page asks: what is urgent goes first, a slow answer is waited for, and rows get what nobody told them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.gate import DEADLINE_S, Gate, Look, hand_in
from tests.page.holding import in_front_of

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

SEVERAL = """
default_source = "quick"
[sources.quick]
type = "simulated"
quota = ["1/100ms"]
latency = "5ms"
failing = [13]
max_attempts = 1
[sources.burst]
type = "simulated"
quota = ["600/h"]
pacing = "burst"
latency = "0s"
batch_size = 1
concurrency = 64
rejected = [290, 295]
"""

IMPATIENT = """
const set = window.setTimeout;
window.setTimeout = (work, ms) => set(work, ms === 10_000 ? 400 : ms);
"""
"""The page's patience with an answer, shortened."""

Serve = Callable[..., Gate]


@pytest.fixture(scope="module")
def gate(serve: Serve) -> Gate:
    return serve(SEVERAL)


def row(page: Page, ingestion_id: str) -> Locator:
    return page.locator(f".ingestion[data-ingestion='{ingestion_id}']")


def test_what_is_handed_in_while_an_answer_comes_in_does_not_make_the_server_seem_away(
    gate: Gate, look: Look
) -> None:
    with in_front_of(gate) as front:
        page = look.open(front)
        front.hold("ingestions")

        hand_in(page, "501, 502")

        expect(page.locator(".ingestion .what").first).to_have_text("501, 502")
        front.let_go()
        expect(page.locator(".ingestion .status").first).to_have_text("completed")
        assert "away" not in page.evaluate("window.states")
        assert look.complaints == []


def test_a_server_whose_answer_never_ends_is_away(gate: Gate, look: Look) -> None:
    look.page.add_init_script(IMPATIENT)
    with in_front_of(gate) as front:
        page = look.open(front)
        front.hold("ingestions")

        expect(page.locator("#away-words")).to_contain_text("away (no answer in time)")


def test_a_row_says_after_a_reload_what_it_said_before(gate: Gate, look: Look) -> None:
    page = look.open(gate)
    hand_in(page, "11-15")
    newest = page.locator(".ingestion").first
    expect(newest.locator(".when")).to_have_text(
        "First failure: 500: the simulated source was told to fail."
    )
    expect(newest.locator(".what")).to_have_text("11, 12, 13, …")
    ingestion_id = newest.get_attribute("data-ingestion")
    assert ingestion_id is not None
    before = row(page, ingestion_id).locator(".forecast").text_content()
    for n in range(10):  # as many calls since that nothing asks for this one any more
        gate.submit([1_000 + n])
    gate.wait_for_end(gate.submit([2_000]))

    page.reload()

    expect(row(page, ingestion_id).locator(".what")).to_have_text("11, 12, 13, …")
    expect(row(page, ingestion_id).locator(".forecast")).to_have_text(str(before))


def test_the_failure_of_a_long_ingestion_is_found_and_then_nothing_more_is_asked(
    gate: Gate, look: Look
) -> None:
    ingestion_id = gate.submit(list(range(1, 301)), source="burst")
    gate.wait_for_end(ingestion_id)

    page = look.open(gate)

    expect(row(page, ingestion_id).locator(".what")).to_have_text("1, …")
    expect(row(page, ingestion_id).locator(".when")).to_contain_text("First failure: 400")
    asked = [url for url in look.requests if f"{ingestion_id}/batches" in url]
    assert len(asked) <= 4
    rounds = len([url for url in look.requests if "/v1/ingestions?" in url]) + 2
    deadline = time.monotonic() + DEADLINE_S
    while len([url for url in look.requests if "/v1/ingestions?" in url]) < rounds:
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)
    assert [url for url in look.requests if f"{ingestion_id}/batches" in url] == asked
