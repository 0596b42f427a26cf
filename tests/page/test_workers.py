"""Who calls the sources, on the page: quiet with one, clear where one is lost, loud where nobody does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.page.gate import Gate, Look, eventually, hand_in
from tests.postgres import create_database, postgres_server

__all__ = ["postgres_server"]

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

SIMULATED = """
[sources.simulated]
type = "simulated"
quota = ["10/s"]
latency = "10ms"
"""

TWO = """
default_source = "near"
[sources.near]
type = "simulated"
[sources.far]
type = "simulated"
"""

FOR_EVER = """
[sources.simulated]
type = "simulated"
quota = ["10/s"]
latency = "10min"
slack = "500ms"
grace = "500ms"
lease = "3min"
"""
"""Whatever is called is held until the worker is killed, and its lease outlives the test."""

MOVING = """
[sources.simulated]
type = "simulated"
quota = ["1/200ms"]
latency = "10ms"
batch_size = 1
"""

KEY = "a-key-that-is-long-enough-to-be-one"
LOST_AFTER_MS = 30_000
"""Where signs of life are given, a worker is lost after 10 s without one."""
AT_REST_S = 4.9
"""Two looks at the workers are so far apart at least while nobody watches them."""

Serve = Callable[..., Gate]


@pytest.fixture
def database(postgres_server: str) -> str:
    """The URL of an empty database. Playwright's loop is this thread's running one, so another thread makes it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(create_database, postgres_server, f"page_{os.getpid()}").result()


def words(page: Page) -> Locator:
    return page.locator("#workers-words")


def row(page: Page, gate: Gate) -> Locator:
    pid = page.locator(".pid").get_by_text(f"pid {gate.pid}", exact=True)
    return page.locator("#workers-list li").filter(has=pid)


def open_workers(page: Page) -> None:
    page.locator("#workers summary").click()
    expect(page.locator("#workers section")).to_be_visible()


def hold_a_batch(server: Gate, worker: Gate) -> None:
    """Hand an id in, and return once the worker holds it."""
    server.submit([1])
    deadline = time.monotonic() + 15
    while [each["holds"] for each in listed(server, worker)] != [1]:
        assert time.monotonic() < deadline, "the worker holds nothing"
        time.sleep(0.03)


def listed(server: Gate, worker: Gate) -> list[dict[str, object]]:
    return [each for each in server.get("workers")["workers"] if each["pid"] == worker.pid]


def test_one_worker_is_a_quiet_word_that_opens_by_keyboard_and_moves_nothing(
    serve: Serve, look: Look
) -> None:
    gate = serve(SIMULATED)
    page = look.open(gate)
    expect(words(page)).to_have_text("1 worker")
    expect(page.locator("#workers section")).to_be_hidden()
    expect(page.locator("#nobody")).to_be_hidden()
    before = page.locator("#river").bounding_box()

    page.locator("#workers summary").focus()
    page.keyboard.press("Enter")

    expect(row(page, gate)).to_contain_text("holds nothing")
    expect(row(page, gate)).to_contain_text("calls simulated · since ")
    expect(row(page, gate)).not_to_contain_text("seen")  # with SQLite no sign of life is given
    expect(row(page, gate).locator(".state, .meaning")).to_have_text(["", ""])
    assert page.locator("#river").bounding_box() == before
    page.keyboard.press("Escape")
    expect(page.locator("#workers section")).to_be_hidden()
    expect(page.locator("#workers summary")).to_be_focused()
    assert look.complaints == []


def test_a_click_elsewhere_closes_the_list(serve: Serve, look: Look) -> None:
    page = look.open(serve(SIMULATED))
    open_workers(page)

    page.locator("#workers h2").click()
    expect(page.locator("#workers section")).to_be_visible()
    page.locator("#ids").click()

    expect(page.locator("#workers section")).to_be_hidden()
    expect(page.locator("#ids")).to_be_focused()


def test_a_worker_that_is_killed_is_shown_as_lost_and_said_aloud(serve: Serve, look: Look) -> None:
    gate = serve(FOR_EVER)
    hold_a_batch(gate, gate)
    other = gate.beside("serve")
    look.page.set_viewport_size({"width": 360, "height": 740})
    page = look.open(other)
    expect(words(page)).to_have_text("2 workers")
    open_workers(page)
    expect(row(page, gate)).to_contain_text("holds 1 batch")
    expect(row(page, other)).to_contain_text("holds nothing")

    gate.kill()

    expect(words(page)).to_have_text("1 worker, 1 lost")
    expect(row(page, gate).locator(".state")).to_have_text("lost")
    expect(row(page, gate).locator(".meaning")).to_contain_text("what it held was taken back")
    expect(row(page, other)).to_contain_text("holds 1 batch")  # on one host that takes no lease
    expect(page.locator("#workers-list li").first.locator(".state")).to_have_text("lost")
    expect(page.locator("#said")).to_contain_text("A worker is lost: ")
    expect(page.locator("#said")).to_contain_text(f"pid {gate.pid}")
    expect(page.locator("#nobody")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_where_nobody_works_the_page_says_so_until_a_worker_starts(
    serve: Serve, look: Look
) -> None:
    gate = serve(SIMULATED, "serve", "--no-worker")
    page = look.open(gate)
    expect(page.locator("#nobody")).to_have_text(
        "Nobody calls the sources: start headgate worker. What waits is kept."
    )
    expect(words(page)).to_have_text("no worker")
    expect(page.locator(".gate .word")).to_have_text("no worker")
    expect(page.locator("#play")).to_be_hidden()  # nothing would move

    hand_in(page, "1, 2, 3")
    expect(page.locator(".ingestion .why")).to_have_text(
        "Nobody calls its source: it waits for a worker."
    )
    worker = gate.beside("worker")

    expect(page.locator(".ingestion[data-status=completed]")).to_have_count(1)
    expect(page.locator("#nobody")).to_be_hidden()
    expect(words(page)).to_have_text("1 worker")
    open_workers(page)
    expect(row(page, worker)).to_contain_text("calls simulated")
    assert look.complaints == []


def test_what_the_only_worker_held_waits_for_another(serve: Serve, look: Look) -> None:
    gate = serve(FOR_EVER, "serve", "--no-worker")
    killed = gate.beside("worker")
    hold_a_batch(gate, killed)
    page = look.open(gate)
    open_workers(page)

    killed.kill()

    expect(page.locator("#nobody")).to_contain_text("Nobody calls the sources")
    expect(words(page)).to_have_text("no worker")
    expect(row(page, killed)).to_contain_text("holds 1 batch")
    expect(row(page, killed)).to_contain_text("its batch comes back once a worker works.")
    other = gate.beside("worker")
    expect(row(page, other)).to_contain_text("holds 1 batch")
    expect(row(page, killed)).to_have_count(0)
    expect(page.locator("#nobody")).to_be_hidden()


def test_a_source_that_no_worker_calls_is_said_to_be_one(serve: Serve, look: Look) -> None:
    gate = serve(TWO, "serve", "--no-worker")
    gate.beside("worker", "--sources", "near")
    page = look.open(gate)
    expect(words(page)).to_have_text("1 worker")
    expect(page.locator("#nobody")).to_be_hidden()

    page.locator("#sources button[data-name=far]").click()

    expect(page.locator("#nobody")).to_contain_text(
        "Nobody calls far: start headgate worker --sources far."
    )


@pytest.mark.long
def test_on_postgresql_a_lost_workers_batches_are_said_to_come_back(
    serve: Serve, look: Look, database: str
) -> None:
    gate = serve(FOR_EVER, "serve", "--no-worker", HEADGATE_DATABASE_URL=database)
    killed = gate.beside("worker")
    hold_a_batch(gate, killed)
    other = gate.beside("worker")
    page = look.open(gate)
    open_workers(page)
    expect(row(page, other)).to_contain_text("seen just now")

    killed.kill()

    expect(words(page)).to_have_text("1 worker, 1 lost", timeout=LOST_AFTER_MS)
    expect(row(page, killed)).to_contain_text("last seen ")
    expect(row(page, killed)).to_contain_text("its batch comes back when its lease has run out.")


def test_the_list_makes_room_for_the_word_that_the_server_is_away(serve: Serve, look: Look) -> None:
    gate = serve(SIMULATED)
    page = look.open(gate)
    open_workers(page)

    gate.kill()

    expect(page.locator("#away")).to_be_visible()
    expect(page.locator("#workers section")).to_be_hidden()
    gate.start()
    expect(page.locator("#away")).to_be_hidden()
    open_workers(page)
    expect(row(page, gate)).to_have_count(1)
    expect(words(page)).to_have_text("1 worker")


def test_a_server_that_does_not_list_workers_is_asked_once_and_is_no_error(
    serve: Serve, look: Look
) -> None:
    gate = serve(MOVING)

    def unknown(route: Route) -> None:
        problem = '{"title": "Not Found", "status": 404, "code": "http_error"}'
        route.fulfill(status=404, content_type="application/problem+json", body=problem)

    look.page.route("**/v1/workers", unknown)
    page = look.open(gate)
    hand_in(page, "1-8")

    expect(page.locator(".ingestion[data-status=completed]")).to_have_count(1)
    expect(page.locator("#workers")).to_be_hidden()
    expect(page.locator("#nobody")).to_be_hidden()
    expect(page.locator("#away")).to_be_hidden()
    assert len(asked(look)) == 1


def workers_asked(request: Request) -> bool:
    return request.url.endswith("/v1/workers")


def test_workers_are_asked_for_seldom_and_more_often_while_somebody_watches(
    serve: Serve, look: Look
) -> None:
    gate = serve(MOVING)
    gate.submit(list(range(1, 1_000)))  # so that a round follows each call
    with look.page.expect_request_finished(workers_asked) as first:
        page = look.open(gate)
    rounds = len(look.requests)
    with page.expect_request_finished(workers_asked) as second:
        pass
    began = [each.value.timing["startTime"] / 1_000 for each in (first, second)]  # by the browser
    assert began[1] - began[0] > AT_REST_S
    assert len(look.requests) - rounds > 10
    before = len(asked(look))

    open_workers(page)

    eventually(page, "window.asking === 0")
    deadline = time.monotonic() + AT_REST_S
    while len(asked(look)) < before + 2:
        assert time.monotonic() < deadline
        page.wait_for_timeout(30)
    assert page.evaluate("window.askedAtOnce") == 1


def asked(look: Look) -> list[str]:
    return [url for url in look.requests if url.endswith("/v1/workers")]


def test_without_its_key_nothing_is_said_of_workers(serve: Serve, look: Look) -> None:
    gate = serve(SIMULATED, HEADGATE_API_KEYS=KEY)
    page = look.open(gate)
    expect(page.locator("#lock")).to_be_visible()
    expect(page.locator("#workers")).to_be_hidden()

    page.fill("#key", KEY)
    page.keyboard.press("Enter")

    expect(words(page)).to_have_text("1 worker")
