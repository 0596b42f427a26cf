"""Mistakes in a configuration: where each is and what to do, in words. Never the value: it may be a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong at a key of the file, as a sentence without its full stop."""

    keys: Keys
    what: str

    def under(self, *keys: str) -> Mistake:
        """The same mistake, its keys counted from further up."""
        return Mistake((*keys, *self.keys), self.what)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration file as read: its text, for line numbers, and its tables.

    No path: there is no file. Not whole: there is one, and it could not be read.
    """

    path: Path | None
    text: str = field(default="", repr=False)
    tables: Mapping[str, object] = field(default_factory=dict, repr=False)
    whole: bool = True

    def place(self, keys: Keys) -> str:
        """Say where these keys are, or would be."""
        if self.path is None:
            return dotted(keys)
        line = line_of(self.text, keys)
        return f"{self.path}, {f'line {line}, ' if line else ''}{dotted(keys)}"


def sentence(place: str, what: str) -> str:
    """Say a mistake in one line, whatever characters its file has."""
    said = f"{place}: {what}{'' if what.endswith('?') else '.'}"
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in said)


def dotted(keys: Sequence[str | int]) -> str:
    """Write keys as TOML does, with the place in a list in brackets: `sources.catalog.quota[1]`."""
    return "".join(map(_step, keys)).removeprefix(".")


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _BARE_KEY.fullmatch(key) else f".{json.dumps(key)}"


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]")
_ASSIGNMENT = re.compile(r"\s*([\w.\"' -]+?)\s*=")


def line_of(text: str, keys: Keys) -> int | None:
    """The first line about the deepest of the nested keys. A hint for people: a text of several lines can fool it."""
    table: Keys = ()
    found: tuple[int, int | None] = (0, None)
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            here = table = _split(header[1])
        elif assignment := _ASSIGNMENT.match(line):
            here = (*table, *_split(assignment[1]))
        else:
            continue
        depth = min(len(here), len(keys))
        if depth > found[0] and here[:depth] == keys[:depth]:
            found = (depth, number)
    return found[1]


def _split(key: str) -> Keys:
    return tuple(part.strip().strip("\"'") for part in key.split("."))


def instead(wrong: str, known: Collection[str]) -> str:
    """Name the nearest of the known names, or all of them if none is near."""
    near = get_close_matches(wrong, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there is {', '.join(sorted(known)) or 'none'}"


M = TypeVar("M", bound=BaseModel)


def validated(
    model: type[M], given: Mapping[str, object], *, context: object = None
) -> tuple[M, list[Mistake]]:
    """Make the model of what is right in `given`, and list everything that is not.

    What is wrong is left out, so that the model has its default there and later checks can go on. Every field of
    the model must have one.
    """
    try:
        return model.model_validate(dict(given), context=context), []
    except ValidationError as mistaken:
        errors = mistaken.errors(include_url=False, include_input=False)
    mistakes = [Mistake(error["loc"], _in_words(model, error)) for error in errors]
    right = _without(given, [error["loc"] for error in errors])
    return model.model_validate(right, context=context), mistakes


def _without(given: Mapping[str, object], wrong: Sequence[Keys]) -> dict[str, object]:
    """What is left of a table when wrong values are taken out, of inner tables as well."""
    left: dict[str, object] = {}
    for key, value in given.items():
        inner = [keys[1:] for keys in wrong if keys[0] == key]
        if not inner:
            left[key] = value
        elif isinstance(value, Mapping) and all(inner):
            left[key] = _without(value, inner)
    return left


_WORDS = {
    "model_type": "should be a table",
    "dict_type": "should be a table",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "string_type": "should be a text in quotes",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
}


def _in_words(model: type[BaseModel], error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        *path, name = map(str, error["loc"])
        return f"this key is unknown; {instead(name, _fields(model, path))}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return _WORDS.get(error["type"], error["msg"].replace("Input should", "should"))


def _fields(model: type[BaseModel], path: list[str]) -> Collection[str]:
    """The keys of the table at `path` within a model."""
    for key in path:
        inner = model.model_fields[key].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return model.model_fields.keys()
