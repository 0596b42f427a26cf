"""The page at `/` as a person sees it: a real server, a real Chromium, no waiting but for events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.page.gate import Gate, Look, eventually, hand_in

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

ONE = """
[sources.simulated]
type = "simulated"
quota = ["1/800ms"]
latency = "30ms"
"""

SLOWLY = """
[sources.simulated]
type = "simulated"
quota = ["1/1200ms"]
latency = "250ms"
"""

SEVERAL = """
default_source = "quick"
[sources.quick]
type = "simulated"
quota = ["1/100ms"]
latency = "5ms"
[sources.words]
type = "simulated"
quota = ["1/100ms"]
ids = { type = "text" }
[sources.daily]
type = "simulated"
quota = ["24/day"]
[sources.closed]
type = "simulated"
quota = ["1/s"]
refuse = true
[sources.burst]
type = "simulated"
quota = ["300/h"]
pacing = "burst"
latency = "0s"
batch_size = 1
concurrency = 64
"""

KEY = "a-key-that-is-long-enough-to-be-one"

UNKNOWN_FATE_MS = 20_000
"""A call that was out when the process was killed occupies its slot for slack and grace after its rescue."""

HOSTILE = "<img src=x onerror=window.hacked=1>"

Serve = Callable[..., Gate]


@pytest.fixture(scope="module")
def gate(serve: Serve) -> Gate:
    """A server with several sources for tests that do not mind one another's ingestions."""
    return serve(SEVERAL)


def choose(page: Page, source: str) -> None:
    page.locator(f"#sources button[data-name={source}]").click()
    expect(page.locator("#rule")).to_contain_text(f"{source}:")


def chips(page: Page, state: str) -> list[str]:
    return page.locator(f".chip[data-state={state}] .ids").all_text_contents()


def test_the_worked_example_goes_from_waiting_to_called_to_done_in_its_order(
    serve: Serve, look: Look
) -> None:
    gate = serve(SLOWLY)
    page = look.open(gate)
    expect(page.locator("#invite-words")).to_have_text("Nothing waits yet.")
    expect(page.locator(".digits")).to_have_text("open")
    assert page.locator(".slot").count() >= 3

    page.locator("#play").click()

    expect(page.locator("#story")).to_contain_text("Sent: 1, 2, 3  ·  6, 7, 8  ·  9  ·  4, 5.")
    eventually(page, "window.seen.filter(([, state]) => state === 'done').length === 4")
    seen: list[tuple[str, str]] = [tuple(each) for each in page.evaluate("window.seen")]
    assert [ids for ids, state in seen if state == "called"] == ["1, 2, 3", "6, 7, 8", "9", "4, 5"]
    for batch in ("1, 2, 3", "6, 7, 8", "9", "4, 5"):
        states = [state for ids, state in seen if ids == batch]
        assert states == ["waiting", "called", "done"]
    counted = [text for text in page.evaluate("window.counted") if text not in {"open", "now"}]
    assert {"0.7", "0.5", "0.3", "0.1"} <= set(counted)  # down to the slot, in tenths
    assert page.locator(".drop").count() >= 3  # the first may have left the picture
    assert page.locator(".ingestion[data-status=completed]").count() == 2
    assert page.evaluate("window.askedAtOnce") == 1
    assert look.complaints == []
    assert look.outside(gate) == []
    assert_no_closer(gate, 1.2)


def assert_no_closer(gate: Gate, seconds: float) -> None:
    calls = gate.get("sources/simulated")["calls"]
    at = [datetime.fromisoformat(call["written_at"]) for call in reversed(calls)]
    assert len(at) == 4
    assert all((b - a).total_seconds() >= seconds for a, b in pairwise(at))


def test_a_mistake_stands_at_its_field_in_the_servers_words(gate: Gate, look: Look) -> None:
    page = look.open(gate)

    hand_in(page, "1, 2, abc")

    expect(page.locator("#ids-error")).to_have_text('"abc": Input should be a valid integer')
    expect(page.locator("#ids")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#ids")).to_be_focused()
    page.fill("#ids", "1, 2")
    expect(page.locator("#ids-error")).to_be_hidden()


def test_nothing_is_a_mistake_too(gate: Gate, look: Look) -> None:
    page = look.open(gate)

    hand_in(page, "  ")

    expect(page.locator("#ids-error")).to_contain_text("List should have at least 1 item")


def test_a_key_is_asked_for_and_kept_in_memory_only(serve: Serve, look: Look) -> None:
    gate = serve(ONE, HEADGATE_API_KEYS=KEY)
    page = look.open(gate)
    expect(page.locator("#lock")).to_be_visible()
    expect(page.locator("#gate")).to_be_hidden()

    page.fill("#key", "not-this-one")
    page.keyboard.press("Enter")
    expect(page.locator("#key-error")).to_have_text("This key is not known here.")
    page.fill("#key", KEY)
    page.keyboard.press("Enter")

    expect(page.locator("#gate")).to_be_visible()
    hand_in(page, "1, 2")
    expect(page.locator(".ingestion[data-status=completed]")).to_have_count(1)
    with page.expect_download() as downloading:  # a link cannot carry a key, so the page fetches
        page.locator(".records a").last.click()
    assert downloading.value.suggested_filename.endswith(".ndjson")
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
        0,
        0,
        "",
    ]
    assert look.context.cookies() == []
    assert page.url == f"{gate.url}/"
    assert not any(KEY in url for url in look.requests)
    assert page.input_value("#key") == ""
    page.reload()
    expect(page.locator("#lock")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc"])
def test_a_page_talks_to_nobody_outside_and_breaks_no_policy(
    gate: Gate, look: Look, path: str
) -> None:
    page = look.open(gate, path)
    wanted = {"/": "#river .slot i", "/docs": ".opblock-summary", "/redoc": "h1"}
    page.locator(wanted[path]).first.wait_for()
    page.wait_for_load_state("networkidle") if path != "/" else None

    assert look.outside(gate) == []
    assert look.complaints == []


def test_ids_are_shown_as_text_whatever_they_say(gate: Gate, look: Look) -> None:
    page = look.open(gate)
    choose(page, "words")

    hand_in(page, f'"{HOSTILE}" <b>bold</b> 12')

    expect(page.locator(".ingestion .what").first).to_contain_text("<img src=x")
    expect(page.locator(".chip .ids").first).to_contain_text("<img src=x")
    expect(page.locator(".ingestion[data-status=completed]").first).to_be_visible()
    ids = [batch["ids"] for batch in gate.get(f"ingestions/{newest(gate)}/batches")["batches"]]
    assert ids == [[HOSTILE, "<b>bold</b>", "12"]]
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main b:not(:empty) b, main .ids *").count() == 0
    hand_in(
        page, HOSTILE
    )  # without quotes: three ids, and a mistake shown as text would be text too
    assert page.evaluate("window.hacked") is None


def newest(gate: Gate) -> str:
    return str(gate.get("ingestions?limit=1")["ingestions"][0]["ingestion_id"])


def test_integers_beyond_those_of_javascript_are_shown_exactly(gate: Gate, look: Look) -> None:
    page = look.open(gate)
    choose(page, "daily")

    hand_in(page, "9223372036854775807 -9007199254740993")

    expect(page.locator(".ingestion .what").first).to_have_text(
        "9223372036854775807, -9007199254740993"
    )
    batches = gate.get(f"ingestions/{newest(gate)}/batches")["batches"]
    assert batches[0]["ids"] == [9223372036854775807, -9007199254740993]


def test_a_hundred_thousand_ids_show_the_first_and_how_many_more(gate: Gate, look: Look) -> None:
    page = look.open(gate)
    choose(page, "daily")

    hand_in(page, "1-100000", "LOW")

    expect(page.locator(".more.behind")).to_contain_text("more")
    expect(page.locator(".ingestion .size").first).to_have_text("100,000 ids in 33,334 batches")
    assert 0 < page.locator(".chip").count() < 40
    page.locator(".cancel").first.click()
    page.locator(".cancel", has_text="Really cancel?").click()
    expect(page.locator(".ingestion .status").first).to_have_text("cancelled")


def test_a_long_ingestion_is_found_where_it_is(gate: Gate, look: Look) -> None:
    ingestion_id = gate.submit(list(range(1, 501)), source="burst")
    gate.wait_for_begun(ingestion_id, 300)

    page = look.open(gate)
    choose(page, "burst")

    expect(page.locator(".chip[data-state=waiting] .ids").first).to_have_text("301")


def test_a_source_that_is_closed_says_why(gate: Gate, look: Look) -> None:
    gate.submit([1], source="closed")
    page = look.open(gate)
    choose(page, "closed")

    expect(page.locator("#notice")).to_contain_text("The source is closed: 401")
    expect(page.locator(".gate")).to_have_attribute("data-state", "closed")


def test_the_page_goes_on_by_itself_when_the_server_comes_back(serve: Serve, look: Look) -> None:
    gate = serve(ONE)
    page = look.open(gate)
    hand_in(page, "1-9")
    expect(page.locator(".chip[data-state=done]").first).to_be_visible()

    gate.kill()
    expect(page.locator("#away")).to_be_visible()
    gate.start()

    expect(page.locator("#away")).to_be_hidden()
    completed = page.locator(".ingestion[data-status=completed]")
    expect(completed).to_have_count(1, timeout=UNKNOWN_FATE_MS)


def test_it_is_usable_on_a_phone_and_by_keyboard_alone(gate: Gate, look: Look) -> None:
    page = look.page
    page.set_viewport_size({"width": 375, "height": 740})
    look.open(gate)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375

    page.keyboard.press("Tab")  # the way past the line, to the form
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.locator("#ids").focus()
    page.keyboard.type("71, 72")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Control+Enter")

    expect(page.locator(".ingestion .what").first).to_have_text("71, 72")
    expect(page.locator(".ingestion .priority").first).to_have_text("HIGH")
    expect(page.locator("#said")).to_contain_text("Accepted: 2 ids in 1 batch.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_who_asked_for_less_motion_gets_none(gate: Gate, look: Look) -> None:
    look.page.emulate_media(reduced_motion="reduce", color_scheme="dark")
    page = look.open(gate)

    hand_in(page, "81, 82")

    expect(page.locator(".chip[data-state=done]", has_text="81, 82")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


def test_it_asks_nothing_while_nobody_looks(gate: Gate, look: Look) -> None:
    page = look.open(gate)
    page.evaluate(
        """() => {
          window.hiddenNow = true;
          Object.defineProperty(document, "hidden", { get: () => window.hiddenNow });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    eventually(page, "window.asking === 0")
    before = -1
    while before != len(look.requests):  # the round that was under way goes to its end
        before = len(look.requests)
        page.wait_for_timeout(500)
    page.wait_for_timeout(1_800)  # longer than it ever waits after somebody came

    assert len(look.requests) == before
    with page.expect_request("**/v1/**"):
        page.evaluate(
            "() => { window.hiddenNow = false; document.dispatchEvent(new Event('visibilitychange')); }"
        )
