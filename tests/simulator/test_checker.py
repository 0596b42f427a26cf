"""The checker is checked with logs written by hand: good ones it must pass, bad ones it must catch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator import checker
from tests.simulator.checker import Accepted, Arrival, Leniency, Window

SECOND = 1_000_000
PER_5S = Window(1, 5 * SECOND, "1/5s")


def calls(*at_s: float) -> list[int]:
    return [round(each * SECOND) for each in at_s]


def arrivals(*calls: tuple[float, str]) -> list[Arrival]:
    """(instant in seconds, ids in one text)."""
    return [
        Arrival(round(at_s * SECOND), tuple(ids.split()), round(at_s * SECOND), None)
        for at_s, ids in calls
    ]


def accepted(
    name: str, ids: str, *, asked: float, answered: float | None = None, priority: str = "MEDIUM"
) -> Accepted:
    told = asked + 0.01 if answered is None else answered
    return Accepted(name, tuple(ids.split()), priority, round(asked * SECOND), round(told * SECOND))


# Windows


def test_calls_exactly_a_window_apart_keep_the_quota() -> None:
    assert checker.windows_over(calls(0, 5, 10, 15), PER_5S) == []


def test_a_microsecond_too_early_breaks_it() -> None:
    over = checker.windows_over(calls(0, 5, 9.999999, 15), PER_5S)

    assert over == [(5 * SECOND, 2)]


def test_a_window_may_be_full_but_not_fuller() -> None:
    window = Window(3, SECOND)

    assert checker.windows_over(calls(0, 0, 0.5, 1.0, 1.0, 1.5), window) == []
    assert checker.windows_over(calls(0, 0, 0.5, 0.999999), window) == [(0, 4)]


def test_a_window_is_found_across_the_edge_of_a_fixed_one() -> None:
    over = checker.windows_over(calls(0.9, 0.9, 1.1, 1.1), Window(2, SECOND))

    assert over == [(900_000, 4), (900_000, 3)]


def test_the_order_of_the_lines_does_not_matter() -> None:
    assert checker.windows_over(calls(10, 0, 4), PER_5S) == [(0, 2)]


def test_a_request_counts_by_its_first_byte_and_by_its_headers() -> None:
    late = [Arrival(0, (), 4 * SECOND), Arrival(5 * SECOND, (), 6 * SECOND)]
    cut = [Arrival(0, (), None), Arrival(SECOND, (), SECOND)]

    assert not checker.check(late, [PER_5S]).good
    assert not checker.check(cut, [PER_5S]).good


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 60), max_size=25),
    st.integers(1, 4),
    st.integers(1, 20),
)
def test_windows_agree_with_the_plainest_reading(instants: list[int], n: int, width: int) -> None:
    """Any window, at whatever instant it begins: over in the one reading exactly when in the other."""
    worst = max(sum(x <= each < x + width for each in instants) for x in range(-20, 61))

    over = checker.windows_over(instants, Window(n, width))

    assert bool(over) == (worst > n)
    assert max((count for _, count in over), default=n) == max(worst, n)
    near = checker.closest(instants, Window(n, width))
    assert (near is not None and near < width) == bool(over)


def test_the_share_that_was_used() -> None:
    every_5s = calls(0, 5, 10, 15, 20)

    assert checker.share_of_rate(every_5s, [PER_5S]) == pytest.approx(1.0)
    assert checker.share_of_rate(calls(0, 10, 20), [PER_5S]) == pytest.approx(0.5)
    assert checker.share_of_rate(every_5s, [PER_5S, Window(1, SECOND)]) == pytest.approx(1.0)
    assert checker.share_of_rate(calls(0), [PER_5S]) is None


def test_the_share_of_what_the_rule_allows_counts_the_latency() -> None:
    instants = calls(0, 5.155, 10.31)

    share = checker.share_of_rule(instants, [PER_5S], latency_us=150_000)

    assert share == pytest.approx(1.0)


def test_the_latency_is_read_from_the_log() -> None:
    log = [Arrival(0, (), 10, 1_010), Arrival(0, (), 10, 3_010), Arrival(0)]

    assert checker.mean_latency_us(log) == 2_010


# Lost


def test_an_id_that_was_never_asked_for_is_lost() -> None:
    told = [accepted("a", "1 2", asked=0), accepted("b", "2 3", asked=0)]

    assert checker.never_asked(arrivals((1, "1 2"), (2, "9")), told) == [("b", "3")]
    assert checker.never_asked(arrivals((1, "1"), (2, "2 3"), (3, "1")), told) == []


# Order

WORKED = [
    accepted("first", "1 2 3 4 5", asked=0),
    accepted("high", "6 7 8 9", asked=4, priority="HIGH"),
]


def test_the_worked_example_keeps_the_order() -> None:
    log = arrivals((0.1, "1 2 3"), (5.1, "6 7 8"), (10.1, "9"), (15.1, "4 5"))

    assert checker.out_of_order(log, WORKED) == []
    assert checker.passed_over(log, WORKED) == []
    assert checker.check(log, [PER_5S], WORKED).good


def test_a_higher_priority_is_not_passed_over() -> None:
    log = arrivals((0.1, "1 2 3"), (5.1, "6 7 8"), (10.1, "4 5"), (15.1, "9"))

    assert checker.passed_over(log, WORKED) == [("high", 10_100_000)]
    assert not checker.check(log, [PER_5S], WORKED).good


def test_a_call_that_was_claimed_before_the_higher_one_came_is_none_of_its_business() -> None:
    log = arrivals((4.05, "1 2 3"), (5.1, "6 7 8 9"), (10.1, "4 5"))

    assert checker.passed_over(log, WORKED) == []
    assert checker.passed_over(log, WORKED, Leniency(lead_us=0)) == [("high", 4_050_000)]


def test_a_retry_of_a_lower_one_passes_over_too() -> None:
    log = arrivals((0.1, "1 2 3 4 5"), (5.1, "1 2 3 4 5"), (10.1, "6 7 8 9"))

    assert checker.passed_over(log, WORKED) == [("high", 5_100_000)]


def test_a_call_that_also_serves_the_higher_one_passes_nobody_over() -> None:
    log = arrivals((5.1, "6 1 2 3"), (10.1, "7 8 9"), (15.1, "4 5"))

    assert checker.passed_over(log, WORKED) == []


def test_an_equal_one_that_came_later_goes_later() -> None:
    told = [accepted("a", "1 2", asked=0), accepted("b", "3", asked=1)]

    assert checker.out_of_order(arrivals((2, "1 2"), (3, "3")), told) == []
    assert checker.out_of_order(arrivals((2, "3"), (3, "1 2")), told) == [("a", "b", SECOND)]
    assert checker.out_of_order(arrivals((2, "1"), (3, "3"), (4, "2")), told) == [
        ("a", "b", SECOND)
    ]


def test_a_retry_keeps_its_place_and_breaks_no_order() -> None:
    told = [accepted("a", "1 2", asked=0), accepted("b", "3", asked=1)]

    assert checker.out_of_order(arrivals((2, "1"), (3, "2"), (4, "3"), (5, "1")), told) == []


def test_submissions_at_the_same_time_may_go_in_either_order() -> None:
    told = [accepted("a", "1", asked=0, answered=2), accepted("b", "2", asked=1, answered=1.5)]

    assert checker.out_of_order(arrivals((3, "2"), (4, "1")), told) == []
    assert checker.out_of_order(arrivals((3, "1"), (4, "2")), told) == []


def test_priorities_are_not_compared_for_order() -> None:
    told = [
        accepted("low", "1", asked=0, priority="LOW"),
        accepted("high", "2", asked=1, priority="HIGH"),
    ]

    assert checker.out_of_order(arrivals((2, "2"), (3, "1")), told) == []


def test_an_id_that_several_have_proves_nothing() -> None:
    told = [accepted("a", "1 9", asked=0), accepted("b", "9 3", asked=1)]

    assert checker.out_of_order(arrivals((2, "9 3"), (3, "1")), told) == [("a", "b", SECOND)]
    assert checker.out_of_order(arrivals((2, "9"), (3, "1"), (4, "3")), told) == []


def test_calls_under_way_at_once_may_change_places_where_that_is_allowed() -> None:
    told = [accepted("a", "1", asked=0), accepted("b", "2", asked=1)]
    log = arrivals((2.000, "2"), (2.004, "1"))

    assert checker.out_of_order(log, told) == [("a", "b", 4_000)]
    assert checker.out_of_order(log, told, Leniency(reorder_us=5_000)) == []


@pytest.mark.parametrize(
    ("kill_s", "good"), [(2.05, True), (1.0, True), (3.0, False), (-1.0, False)]
)
def test_a_batch_in_the_hands_of_a_dead_worker_may_be_overtaken(kill_s: float, good: bool) -> None:
    told = [
        accepted("a", "1", asked=0),
        accepted("b", "2", asked=1),
        accepted("high", "3", asked=0, priority="HIGH"),
    ]
    log = arrivals((2, "2"), (4, "3"), (5, "1"))
    leniency = Leniency(kills=(round(kill_s * SECOND),), rescue_us=2 * SECOND)

    assert (checker.out_of_order(log, told, leniency) == []) is good
    assert (checker.passed_over(log, told, leniency) == []) is good


def test_the_worst_overtaker_is_found_among_many() -> None:
    told = [accepted("a", "0", asked=0)] + [
        accepted(f"b{number}", str(number), asked=number) for number in range(1, 50)
    ]
    log = arrivals(*((100 + number, str(number)) for number in range(1, 50)), (200, "0"))

    assert checker.out_of_order(log, told) == [("a", "b1", 99 * SECOND)]


# The report and the command


def test_a_report_says_what_was_found() -> None:
    log = [Arrival(each, ("1",), each, each + 50_000) for each in calls(0, 5.06, 10.12)]
    text = str(checker.check(log, [PER_5S], [accepted("a", "1", asked=0)]))

    assert "3 requests over 10.120 s; 1 accepted ingestions" in text
    assert "kept    quota 1/5s: closest 5.060000 s" in text
    assert "used 98.81% of the rate, 99.90% of what the rule allows at a latency of 50.0 ms" in text
    assert "kept    nothing lost: 1 of 1 accepted ids were asked for" in text
    assert "BROKEN" not in text


def test_a_long_list_of_violations_is_cut_but_counted() -> None:
    report = checker.check([Arrival(each) for each in range(100)], [PER_5S])

    assert len(report.violations) == 99
    assert "... and 79 more" in str(report)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(Path(checker.__file__)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def write(path: Path, *lines: object, end: str = "\n") -> Path:
    path.write_text("\n".join(map(json.dumps, lines)) + end)
    return path


TOLD = {"ingestion_id": "a", "ids": [1, 2], "priority": "LOW", "asked_us": 0, "answered_us": 5}


@pytest.mark.process
def test_the_command_passes_a_good_log(tmp_path: Path) -> None:
    log = write(tmp_path / "log", {"at_us": 10, "headers_us": 11, "ids": ["1", "2"]})
    journal = write(tmp_path / "journal", TOLD)
    kills = write(tmp_path / "kills", {"at_us": 3})

    done = run("--log", log, "--quota", "1/5s", "--journal", journal, "--kills", kills)

    assert (done.returncode, done.stderr) == (0, "")
    assert "kept" in done.stdout


@pytest.mark.process
def test_the_command_fails_for_a_broken_promise(tmp_path: Path) -> None:
    log = write(tmp_path / "log", {"at_us": 10, "ids": ["1"]}, {"at_us": 11, "ids": ["1"]})
    journal = write(tmp_path / "journal", TOLD)

    done = run("--log", log, "--quota", "1/5s", "--quota", "9/min", "--journal", journal)

    assert done.returncode == 1
    assert "BROKEN  quota 1/5s" in done.stdout
    assert "kept    quota 9/min" in done.stdout
    assert "a: id 2 was never asked for" in done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        "{}",
        '{"at_us": null}',
        '{"at_us": "5"}',
        '{"at_us": true}',
        '{"at_us": 5, "headers_us": 1.5}',
    ],
)
def test_a_log_that_cannot_be_read_is_no_good_log(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_text(f'{{"at_us": 1}}\n{line}\n')

    assert checker.main(["--log", str(log), "--quota", "1/5s"]) == 2


def test_a_log_that_is_not_there_is_no_good_log(tmp_path: Path) -> None:
    assert checker.main(["--log", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("wrong", [{"priority": "URGENT"}, {"answered_us": -1}, {"ids": None}])
def test_a_journal_has_to_make_sense(tmp_path: Path, wrong: dict[str, object]) -> None:
    log, journal = write(tmp_path / "log", {"at_us": 1}), write(tmp_path / "j", {**TOLD, **wrong})

    assert checker.main(["--log", str(log), "--journal", str(journal)]) == 2


def test_a_last_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    log = write(tmp_path / "log", {"at_us": 1}, {"at_us": 2}, end='\n{"at_us": 3')

    assert [each.at_us for each in checker.load_arrivals(log)] == [1, 2]


@pytest.mark.parametrize("text", ["5", "0/s", "1/0s", "1/x", "1/-5s", "a/s", "1/5 s", ""])
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="not a quota"):
        checker.parse_window(text)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("1/5s", (1, 5_000_000)),
        ("10/s", (10, 1_000_000)),
        ("1/500ms", (1, 500_000)),
        ("9/day", (9, 86_400_000_000)),
    ],
)
def test_a_quota_is_read_as_it_is_written(text: str, window: tuple[int, int]) -> None:
    read = checker.parse_window(text)

    assert (read.n, read.us, str(read)) == (*window, text)
