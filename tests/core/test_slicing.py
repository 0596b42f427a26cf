"""Ids to chunks to batches and to what is still to do: nothing is lost, nothing doubled, the order kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log2
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.ids import Id
from headgate.core.slicing import (
    Todo,
    batch_count,
    batch_id,
    batch_positions,
    chunk_length,
    chunks,
    left_to_do,
    next_call,
    split,
)
from tests.core.steady import steady

LISTS = st.one_of(
    st.lists(st.integers(-3, 30), max_size=60),
    st.lists(st.sampled_from(["a", "b", "1", "é"]), max_size=30),
    st.integers(0, 1_000).map(range),
)
"""With many repeats, with few, with none; some longer than a chunk."""

SIZES = st.one_of(st.integers(1, 9), st.integers(95, 320))


# -- chunks --------------------------------------------------------------------------------------------------


@given(LISTS, SIZES)
@steady()
def test_chunks_cover_the_list_exactly_and_in_order(ids: Sequence[Id], size: int) -> None:
    cut = list(chunks(ids, size))

    assert [value for chunk in cut for value in chunk.ids] == list(ids)
    assert [chunk.start for chunk in cut] == list(range(0, len(ids), chunk_length(size)))


@given(LISTS, SIZES)
@steady()
def test_a_chunk_holds_whole_batches(ids: Sequence[Id], size: int) -> None:
    for chunk in chunks(ids, size):
        assert chunk.start % size == 0
        assert len(chunk.ids) % size == 0 or chunk.start + len(chunk.ids) == len(ids)


@given(st.integers(1, 1_000))
@steady()
def test_a_chunk_is_about_three_hundred_ids_or_one_batch(size: int) -> None:
    length = chunk_length(size)

    assert length % size == 0
    assert length == size or 300 - size < length <= 300


@given(LISTS, SIZES)
@steady()
def test_every_repeat_is_marked_with_the_position_where_its_id_first_stands(
    ids: Sequence[Id], size: int
) -> None:
    everything = list(ids)
    expected = {
        position: everything.index(value)
        for position, value in enumerate(everything)
        if value in everything[:position]
    }

    assert expected == {
        chunk.start + offset: first
        for chunk in chunks(ids, size)
        for offset, first in chunk.repeats.items()
    }


@given(LISTS, SIZES)
@steady()
def test_each_distinct_id_is_counted_in_one_chunk(ids: Sequence[Id], size: int) -> None:
    assert sum(chunk.distinct for chunk in chunks(ids, size)) == len(set(ids))


def test_chunks_are_cut_lazily() -> None:
    cut = chunks(range(10**6), 3)

    assert next(cut).ids == range(300)


# -- batches -------------------------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(1, 50))
@steady()
def test_batches_cover_the_list_exactly_and_in_order(ids: int, size: int) -> None:
    numbers = range(batch_count(ids, size))

    positions = [p for number in numbers for p in batch_positions(number, size, ids)]
    assert positions == list(range(ids))


@given(st.integers(1, 400), st.integers(1, 50))
@steady()
def test_every_batch_but_the_last_is_full_and_none_is_empty(ids: int, size: int) -> None:
    *full, last = (len(batch_positions(n, size, ids)) for n in range(batch_count(ids, size)))

    assert set(full) <= {size}
    assert 1 <= last <= size


@given(st.uuids(), st.integers(0, 10**6))
@steady()
def test_the_id_of_a_batch_is_the_uuid_of_its_number_within_the_ingestion(
    ingestion: UUID, number: int
) -> None:
    assert batch_id(str(ingestion), number) == str(uuid5(ingestion, str(number)))


# -- what is still to do -------------------------------------------------------------------------------------


@st.composite
def todos(draw: st.DrawFn) -> Todo:
    """Some positions in groups, none of them empty."""
    positions = draw(st.lists(st.integers(0, 40), min_size=1, max_size=12, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, len(positions)))) | {0, len(positions)})
    return tuple(tuple(positions[start:end]) for start, end in pairwise(cuts))


def all_of(todo: Todo) -> list[int]:
    return [position for group in todo for position in group]


@given(todos(), st.integers(1, 12))
@steady()
def test_the_next_call_is_for_the_first_of_the_first_group(todo: Todo, most: int) -> None:
    called = next_call(todo, most)

    assert 1 <= len(called) <= most
    assert called == tuple(all_of(todo))[: len(called)]
    assert len(called) == min(most, len(todo[0]))


@given(todos(), st.frozensets(st.integers(0, 40)))
@steady()
def test_what_is_left_is_what_has_not_ended_in_the_same_order(
    todo: Todo, done: frozenset[int]
) -> None:
    left = left_to_do(todo, done)

    assert all_of(left) == [position for position in all_of(todo) if position not in done]
    assert all(left)


@given(todos(), st.frozensets(st.integers(0, 40)))
@steady()
def test_positions_stay_in_the_group_that_they_were_in(todo: Todo, done: frozenset[int]) -> None:
    groups = [set(group) for group in todo]

    for group in left_to_do(todo, done):
        assert any(set(group) <= before for before in groups)


@given(todos(), st.integers(2, 12))
@steady()
def test_a_split_keeps_every_position_once_and_in_order(todo: Todo, most: int) -> None:
    assert all_of(split(todo, next_call(todo, most))) == all_of(todo)


@given(todos().filter(lambda todo: len(todo[0]) > 1), st.integers(2, 12))
@steady()
def test_a_split_makes_two_calls_of_one_each_half_as_large(todo: Todo, most: int) -> None:
    called = next_call(todo, most)
    first, second, *_ = split(todo, called)

    assert first + second == called
    assert 0 <= len(first) - len(second) <= 1


@pytest.mark.parametrize("size", [1, 2, 3, 5, 50, 64, 100])
def test_a_poison_id_is_found_by_splitting_in_two_calls_for_each_halving(size: int) -> None:
    for poison in range(size):
        assert hunt(size, {poison}, most=size) == {poison: True}

        calls_after_the_first = calls_of(size, {poison}, most=size) - 1
        assert calls_after_the_first <= 2 * ceil(log2(size))


@given(st.integers(1, 24), st.sets(st.integers(0, 23)), st.integers(1, 24))
@steady()
def test_splitting_ends_and_blames_nobody_but_the_poison(
    size: int, poison: set[int], most: int
) -> None:
    poison &= set(range(size))

    assert hunt(size, poison, most=most) == dict.fromkeys(poison, True)


def hunt(size: int, poison: set[int], *, most: int) -> dict[int, bool]:
    """Fetch a batch whose poison ids make the source reject the call; which positions were buried."""
    return _fetch_all(size, poison, most)[0]


def calls_of(size: int, poison: set[int], *, most: int) -> int:
    return _fetch_all(size, poison, most)[1]


def _fetch_all(size: int, poison: set[int], most: int) -> tuple[dict[int, bool], int]:
    todo: Todo = (tuple(range(size)),)
    buried: dict[int, bool] = {}
    calls = 0
    while todo:
        calls += 1
        called = next_call(todo, most)
        if poison.isdisjoint(called):
            todo = left_to_do(todo, frozenset(called))
        elif len(called) == 1:
            buried[called[0]] = True
            todo = left_to_do(todo, frozenset(called))
        else:
            todo = split(todo, called)
    return buried, calls
