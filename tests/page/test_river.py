"""What stands on the river: the labels of the slots, and what waits at a source that is closed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.page.gate import Gate, Look
from tests.page.holding import refusing
from tests.process.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

SLOTS = """
[sources.half]
type = "simulated"
quota = ["2/s"]
[sources.third]
type = "simulated"
quota = ["3/s"]
[sources.most]
type = "simulated"
quota = ["1/700ms"]
[sources.whole]
type = "simulated"
quota = ["1/s"]
[sources.long]
type = "simulated"
quota = ["1/5s"]
"""

CLOSED = """
[sources.catalog]
type = "http"
url = "{url}/items{{?ids}}"
quota = ["1/s"]
probe = "{probe}"
"""

SPANS = """
["#river", ".chip[data-state=waiting][data-hid=no]", ".more.behind"]
  .flatMap((each) => [...document.querySelectorAll(each)])
  .map((each) => each.getBoundingClientRect()).map((box) => [box.left, box.right])
"""
LABELS = "[...document.querySelectorAll('.slot')].map((slot) => slot.lastChild.textContent)"

Serve = Callable[..., Gate]


@pytest.fixture(scope="module")
def gate(serve: Serve) -> Gate:
    return serve('default_source = "whole"\n' + SLOTS)


def assert_labelled(page: Page, source: str, labels: list[str]) -> None:
    """Its slots come to be labelled so, from the first on."""
    page.locator(f"#sources button[data-name={source}]").click()
    expect(page.locator("#rule")).to_contain_text(f"{source}:")
    eventually(
        lambda: page.evaluate(LABELS)[: len(labels)] == labels, f"{source} is labelled {labels}"
    )


def test_a_slot_is_labelled_with_the_second_that_it_is_nearest_to(gate: Gate, look: Look) -> None:
    page = look.open(gate)  # nothing waits, so that the first slot is now

    assert_labelled(page, "half", ["", "", "1 s", "", "2 s", "", "3 s"])
    assert_labelled(page, "third", ["", "", "", "1 s", "", "", "2 s"])
    assert_labelled(page, "most", ["", "1 s", "", "2 s", "3 s", "", "4 s"])
    assert_labelled(page, "whole", ["", "1 s", "2 s", "3 s"])
    assert_labelled(page, "long", ["", "5 s", "10 s", "15 s"])


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("probe", ["3s", "40s"])
def test_what_waits_at_a_closed_source_is_seen_beside_how_many_more(
    serve: Serve, look: Look, width: int, probe: str
) -> None:
    look.page.set_viewport_size({"width": width, "height": 800})
    with refusing() as url:
        gate = serve(CLOSED.format(url=url, probe=probe))
        gate.submit(list(range(1, 1_000)))
        page = look.open(gate)
        expect(page.locator("#notice")).to_be_visible()
        expect(page.locator(".more.behind")).to_be_visible()
        eventually(
            lambda: _beside_each_other(page.evaluate(SPANS)),  # a probe moves them for a moment
            "what waits stands in one row, within the river",
        )


def _beside_each_other(spans: list[tuple[float, float]]) -> bool:
    """The river's span, then those of what stands on it, from the left to the right; at least two."""
    (left, right), *places = spans
    apart = all(end <= begin for (_, end), (begin, _) in pairwise(places))
    return len(places) >= 2 and apart and left < places[0][0] and places[-1][1] <= right


def test_a_source_that_is_closed_for_its_key_says_where_to_look(serve: Serve, look: Look) -> None:
    with refusing() as url:
        gate = serve(CLOSED.format(url=url, probe="40s"))
        gate.submit([1])
        page = look.open(gate)

        expect(page.locator("#notice")).to_contain_text("The source is closed: 401 Unauthorized.")
        expect(page.locator("#notice")).to_contain_text(
            "Check the key in headers of [sources.catalog] in headgate.toml;"
            " if it was wrong, correct it and restart."
        )
