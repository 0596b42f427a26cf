"""The page's modules alone, in the browser that runs them: ids as people type them, JSON without rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.page.gate import Gate, Look

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

READ = "async ([text, given]) => (await import('/page/ids.js')).readIds(text, given)"
SUMMARY = "async (ids) => (await import('/page/ids.js')).summary(ids)"
PARSE = "async (text) => (await import('/page/api.js')).parseExactly(text)"
WORDS = "async ([name, given]) => (await import('/page/words.js'))[name](...given)"
WORKERS = "async ([name, given]) => (await import('/page/workers.js'))[name](...given)"
CALLED = """async ([listed, name]) => {
  const model = new (await import('/page/model.js')).Model();
  model.noteWorkers(listed);
  return [model.isCalled(name), model.idle];
}"""


@pytest.fixture(scope="module")
def gate(serve: Callable[..., Gate]) -> Gate:
    return serve('[sources.simulated]\ntype = "simulated"\n')


@pytest.fixture(scope="module")
def page(browser: Browser, gate: Gate) -> Iterator[Page]:
    """One page for all: its modules keep nothing between calls."""
    look = Look(browser.new_context())
    yield look.open(gate)
    look.close()


def test_ids_are_read_as_people_write_them(page: Page) -> None:
    cases = {
        "1,2 3\n4;5": ["1", "2", "3", "4", "5"],
        "1-3, 7": ["1", "2", "3", "7"],
        "1 - 3": ["1", "2", "3"],
        "-2–1": ["-2", "-1", "0", "1"],
        "-3--1": ["-3", "-2", "-1"],
        "3 -1": ["3", "-1"],
        "[1, 2]": ["1", "2"],
        '["a b", "c\\"d", 3]': ['"a b"', '"c\\"d"', "3"],
        "9223372036854775807": ["9223372036854775807"],
        "9223372036854775806-9223372036854775807": ["9223372036854775806", "9223372036854775807"],
        "a-1 3-1 007 1.5 1e3": ['"a-1"', '"3-1"', '"007"', '"1.5"', '"1e3"'],
        "": [],
        " ,;\n": [],
    }

    read = {text: page.evaluate(READ, [text, {}])["literals"] for text in cases}

    assert read == cases


def test_ids_of_a_source_that_takes_texts_are_left_as_written(page: Page) -> None:
    found = page.evaluate(READ, ['1-3 007 "a b" x', {"asText": True}])

    assert found == {"literals": ['"1-3"', '"007"', '"a b"', '"x"'], "mistake": None}


def test_a_range_that_is_far_too_long_is_a_mistake_and_not_a_freeze(page: Page) -> None:
    found = page.evaluate(READ, ["1-99999999999999", {}])

    assert found["literals"] == []
    assert "more than 1,000,000 ids" in found["mistake"]


def test_a_batch_is_summed_up_in_few_characters(page: Page) -> None:
    cases: list[tuple[list[Any], str]] = [
        ([1, 2, 3], "1, 2, 3"),
        ([100, 101, 102], "100–102"),
        ([100, 205, 307], "100 … 307"),
        (["a", "b"], "a, b"),
        ([5], "5"),
    ]

    assert [page.evaluate(SUMMARY, ids) for ids, _ in cases] == [text for _, text in cases]


def test_long_integers_survive_json_and_nothing_else_changes(page: Page) -> None:
    text = (
        '{"a": [9007199254740993, -9223372036854775808, 1], "b": "12345678901234567 \\" 1",'
        ' "c": 0.12345678901234567890}'
    )

    parsed = page.evaluate(PARSE, text)

    assert parsed == {
        "a": ["9007199254740993", "-9223372036854775808", 1],
        "b": '12345678901234567 " 1',
        "c": 0.12345678901234568,
    }


def test_numbers_and_spans_are_said_as_people_say_them(page: Page) -> None:
    cases: list[tuple[str, list[Any], str]] = [
        ("windowWords", ["1/5s"], "1 call every 5 s"),
        ("windowWords", ["10/s"], "10 calls a second"),
        ("windowWords", ["100000/day"], "100,000 calls a day"),
        ("windowWords", ["5/h"], "5 calls an hour"),
        ("windowWords", ["7/90s"], "7 calls in any 90 s"),
        ("span", [350], "350 ms"),
        ("span", [4_210], "4.2 s"),
        ("span", [200_000], "3 min 20 s"),
        ("span", [7_500_000], "2 h 5 min"),
        ("span", [90_000_000], "1 d 1 h"),
        ("gap", [5_004.9], "5.005 s"),
        ("countdown", [4_160], "4.2"),
        ("countdown", [65_000], "1:05"),
        ("gap", [19.96], "20.0 ms"),
    ]

    said = [page.evaluate(WORDS, [name, given]) for name, given, _ in cases]

    assert said == [words for _, _, words in cases]


def test_what_nobody_serves_is_said_to_wait_and_promised_nothing(page: Page) -> None:
    forecast = {"position": 0, "waits_for": "unserved", "starts_ms": None, "finishes_ms": None}
    waiting = {"ended_ms": None, "cancelled_at": None, "reason": None, "forecast": forecast}

    why, when = page.evaluate(WORDS, ["forecastWords", [waiting, 0]])

    assert "serves its source" in why
    assert "now" not in why
    assert when == ""


def worker(state: str = "working", **more: Any) -> dict[str, Any]:
    at = "2026-11-24T23:39:05.510428Z"
    return {"state": state, "sources": ["a"], "holds": 0, "started_at": at, "seen_at": at, **more}


def test_workers_are_counted_in_few_words(page: Page) -> None:
    cases: list[tuple[list[dict[str, Any]], list[str]]] = [
        ([], ["no worker", ""]),
        ([worker()], ["1 worker", ""]),
        ([worker(), worker()], ["2 workers", ""]),
        ([worker(), worker("lost"), worker()], ["2 workers, ", "1 lost"]),
        ([worker("lost")], ["no worker", ""]),
    ]

    assert [page.evaluate(WORKERS, ["countWords", [each]]) for each, _ in cases] == [
        words for _, words in cases
    ]


def test_what_lost_means_depends_on_what_is_held_and_who_is_left(page: Page) -> None:
    what = "It was killed, or nothing is heard of it any more; "
    cases: list[tuple[dict[str, Any], bool, str]] = [
        (worker(holds=2), False, ""),
        (worker("lost"), False, what + "what it held was taken back."),
        (
            worker("lost", holds=1),
            False,
            what + "its batch comes back when its lease has run out.",
        ),
        (
            worker("lost", holds=2),
            False,
            what + "its batches come back when their lease has run out.",
        ),
        (worker("lost", holds=2), True, what + "its batches come back once a worker works."),
    ]

    said = [page.evaluate(WORKERS, ["lostWords", [each, idle]]) for each, idle, _ in cases]

    assert said == [words for _, _, words in cases]


def test_when_a_worker_was_seen_is_said_where_it_gives_signs_of_life(page: Page) -> None:
    cases: list[tuple[str, int | None, str]] = [
        ("working", None, ""),
        ("working", 1_100, " · seen just now"),
        ("working", 4_200, " · seen 4 s ago"),
        ("lost", 130_000, " · last seen 2 min 10 s ago"),
    ]

    for state, silent_ms, ending in cases:
        given = {"state": state, "started_ms": 0, "silent_ms": silent_ms}
        said = page.evaluate(WORKERS, ["timeWords", [given, 0]])
        since, _, seen = said.partition(" · ")
        assert since.startswith("since ")
        assert (f" · {seen}" if seen else "") == ending


def test_a_source_is_called_by_who_works_and_names_it_or_it_is_not_known(page: Page) -> None:
    cases: list[tuple[list[dict[str, Any]] | None, str, list[bool]]] = [
        (None, "a", [True, False]),  # an older server does not say
        ([], "a", [False, True]),
        ([worker()], "a", [True, False]),
        ([worker()], "b", [False, False]),
        ([worker("lost")], "a", [False, True]),
        ([worker("lost"), worker(sources=["b"])], "a", [False, False]),
    ]

    assert [page.evaluate(CALLED, [listed, name]) for listed, name, _ in cases] == [
        known for _, _, known in cases
    ]


def test_where_nobody_calls_no_instant_is_promised(page: Page) -> None:
    def said(waits_for: str) -> list[str]:
        forecast = {"position": 0, "waits_for": waits_for, "starts_ms": 0, "finishes_ms": 900}
        waiting = {"ended_ms": None, "cancelled_at": None, "reason": None, "forecast": forecast}
        words: list[str] = page.evaluate(WORDS, ["forecastWords", [waiting, 0, {"called": False}]])
        return words

    assert said("pace") == ["Nobody calls its source: it waits for a worker.", ""]
    assert said("answer") == said("pace")
    assert "costs more than a window" in said("cost")[0]
    assert "serves its source" in said("unserved")[0]
