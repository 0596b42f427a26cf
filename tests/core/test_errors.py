"""The exception tree: one branch for each thing that a caller would do."""

from __future__ import annotations

import pytest

from headgate.core import errors
from headgate.core.errors import (
    Conflict,
    FieldError,
    HeadgateError,
    InvalidInput,
    SourceMisconfigured,
    Unavailable,
)

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HeadgateError)
]


def test_the_tree_drawn_at_the_top_is_the_tree() -> None:
    drawn = (errors.__doc__ or "").splitlines()

    for kind in KINDS[1:]:
        (line,) = [line for line in drawn if f"── {kind.__name__} " in line]
        assert str(kind.status) in line or kind.status == HeadgateError.status


def test_an_error_that_no_caller_can_mend_is_ours() -> None:
    assert HeadgateError.status == 500


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in KINDS]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Conflict(), "That is not possible in the present state."),
        (Conflict("it has ended"), "it has ended"),
        (Unavailable(), "The store cannot take this now; nothing was stored. Try again."),
    ],
)
def test_the_docstring_is_the_message_unless_there_is_a_better_one(
    error: HeadgateError, message: str
) -> None:
    assert error.message == str(error) == message


def test_wrong_input_says_where_it_first_is() -> None:
    mistakes = (FieldError(("ids", 2), "not an integer"), FieldError(("priority",), "unknown"))
    error = InvalidInput(*mistakes)

    assert error.errors == mistakes
    assert error.message == "ids.2: not an integer"


def test_what_is_unavailable_says_when_to_try_again() -> None:
    assert Unavailable(retry_after_s=10).retry_after_s == 10
    assert Unavailable().retry_after_s == 1


def test_a_configuration_says_all_its_mistakes() -> None:
    error = SourceMisconfigured("no url", "unknown key")

    assert error.mistakes == ("no url", "unknown key")
    assert error.message == "no url\nunknown key"
