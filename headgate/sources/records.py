"""Which part of an answer is the record of which id. Pure.

What `records` selects is read like this:
- with `record_id`, a list (or an object: a list of one): each record says whose it is, and null says nothing;
- without, of an address with `{id}`: the whole of it is the record, whatever it is; null: missing;
- without, a list: by position, one for each id or it is no answer; null: missing;
- without, an object: the names are ids; null: missing; asked for one id which is not among them: the record itself;
- null: for one id, missing; for several, with `record_id`, an empty list (Go writes it so), else no answer.

Records of ids that were not asked for are passed over, of a repeated id the first is taken, the order does not matter.
An id that is mentioned nowhere is in neither `records` nor `missing`: the core decides. But where a record does not
say whose it is, the ids left over are `failed`: they cannot be called missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import jmespath

from headgate.core.ids import Id
from headgate.core.outcome import Failed, Fetched
from headgate.sources import raw_json
from headgate.sources.raw_json import NotJson

Asked = Sequence[tuple[int, Id]]
"""What was asked for: (position, id)."""

_NULL = b"null"
_EXACT_FLOAT = 2**53
"""Up to here a float that is whole is the integer that was meant."""


@dataclass(frozen=True, slots=True)
class Path:
    """Names, one inside the other; none: the value itself. What it finds are the bytes as they were sent."""

    names: tuple[str, ...] = ()

    def find(self, value: bytes) -> bytes | None:
        """The value there, or None where there is no such place."""
        for name in self.names:
            found = raw_json.members(value).get(name) if value[:1] == b"{" else None
            if found is None:
                return None
            value = found
        return value


@dataclass(frozen=True, slots=True)
class Expression:
    """Any other JMESPath. What it finds is written anew, with numbers as they were written."""

    compiled: jmespath.parser.ParsedResult = field(repr=False)

    def find(self, value: bytes) -> bytes:
        """What the expression makes of the value; null where it finds nothing."""
        tree = raw_json.tree(value)
        try:
            found = self.compiled.search(tree)
        except (
            Exception
        ) as error:  # a stranger's data under any expression: whatever goes wrong is its doing
            raise NotJson from error
        return raw_json.written(found)


Selector = Path | Expression


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the records are and where each one's id is. `one`: the address names a single id."""

    records: Selector = Path()
    record_id: Selector | None = None
    one: bool = False


def shape_of(records: str | None, record_id: str | None, *, one: bool = False) -> Shape:
    """Read both settings, or raise ValueError with what is wrong."""
    return Shape(
        _selector("records", records) if records is not None else Path(),
        _selector("record_id", record_id) if record_id is not None else None,
        one,
    )


def read_records(body: bytes, asked: Asked, shape: Shape) -> Fetched | Failed:
    """Find the record of each id in the body of a good answer."""
    try:
        found = shape.records.find(raw_json.document(body))
        if found is None:
            return Failed("the answer has nothing where `records` says")
        return _matched(found, asked, shape)
    except NotJson:
        return Failed("the answer is not the JSON that was expected")


def _matched(found: bytes, asked: Asked, shape: Shape) -> Fetched | Failed:
    kind = found[:1]
    if kind == b"n":
        return _nothing(asked, listed=shape.record_id is not None)
    if shape.record_id is not None and kind in {b"[", b"{"}:
        return _by_id(raw_json.elements(found) if kind == b"[" else [found], asked, shape.record_id)
    if shape.record_id is None and shape.one:
        return Fetched({asked[0][0]: found})
    if kind == b"[":
        return _by_position(raw_json.elements(found), asked)
    if kind == b"{":
        return _by_key(found, asked)
    return Failed("the answer holds no list and no object where the records should be")


def _by_position(records: Sequence[bytes], asked: Asked) -> Fetched | Failed:
    if len(asked) == 1 and not records:
        return Fetched()
    if len(records) != len(asked):
        return Failed(f"{len(records)} records for {len(asked)} ids: nobody can say whose they are")
    return _told((position, record) for (position, _), record in zip(asked, records, strict=True))


def _by_key(found: bytes, asked: Asked) -> Fetched | Failed:
    known, members = _Known(asked), raw_json.members(found)
    told = [(place, value) for key, value in members.items() for place in known.places(key)]
    if told or not members:
        return _told(told)
    if len(asked) == 1:
        return Fetched({asked[0][0]: found})
    return Failed("the answer is an object, and none of the ids is among its names")


def _by_id(records: Iterable[bytes], asked: Asked, selector: Selector) -> Fetched | Failed:
    known, said = (
        _Known(asked),
        [(_id_in(each, selector), each) for each in records if each != _NULL],
    )
    nameless = sum(value is None for value, _ in said)
    if said and nameless == len(said):
        return Failed("no record in the answer has an id where `record_id` says")
    mine: dict[int, bytes] = {}
    for value, record in said:
        for position in known.places(value):
            mine.setdefault(position, record)
    if not nameless:
        return Fetched(mine)
    reason = f"not found, but {nameless} of the answer's records do not say whose they are"
    return Fetched(mine, failed={place: reason for place, _ in asked if place not in mine})


def _nothing(asked: Asked, *, listed: bool) -> Fetched | Failed:
    if len(asked) == 1:
        return Fetched(missing=frozenset({asked[0][0]}))
    return Fetched() if listed else Failed("the answer is null, for several ids")


def _told(records: Iterable[tuple[int, bytes]]) -> Fetched:
    every = dict(records)
    missing = frozenset(position for position, record in every.items() if record == _NULL)
    return Fetched({place: each for place, each in every.items() if place not in missing}, missing)


def _id_in(record: bytes, selector: Selector) -> Id | None:
    try:
        found = selector.find(record)
        return None if found is None else _as_id(raw_json.scalar(found))
    except NotJson:
        return None


def _as_id(value: object) -> Id | None:
    match value:
        case bool():
            return None  # True is an int to Python, and equal to 1
        case int() | str():
            return value
        case float() if value.is_integer() and abs(value) < _EXACT_FLOAT:
            return int(value)
        case _:
            return None


class _Known:
    """The ids asked for, to be recognised as the source writes them: 5 is "5", unless both were asked for."""

    def __init__(self, asked: Asked) -> None:
        self._exact: dict[Id, list[int]] = {}
        for position, value in asked:
            self._exact.setdefault(value, []).append(position)
        self._by_text = {str(value): positions for value, positions in self._exact.items()}

    def places(self, value: Id | None) -> Sequence[int]:
        """Every position of an id; none if it was not asked for."""
        if value is None:
            return ()
        return self._exact.get(value, ()) or self._by_text.get(str(value), ())


def _selector(setting: str, text: str) -> Selector:
    try:
        compiled = jmespath.compile(text)
    except (jmespath.exceptions.JMESPathError, ValueError):
        raise ValueError(f"{setting}: this is no JMESPath expression") from None
    names = _names(compiled.parsed)
    return Expression(compiled) if names is None else Path(names)


def _names(parsed: object) -> tuple[str, ...] | None:
    """The names of a path like `a.b."c d"`; None for any other expression."""
    match parsed:
        case {"type": "field", "value": str(name)}:
            return (name,)
        case {"type": "current"}:
            return ()
        case {"type": "subexpression", "children": [*parts]}:
            steps = [_names(part) for part in parts]
            known = [step for step in steps if step is not None]
            return tuple(chain.from_iterable(known)) if len(known) == len(steps) else None
        case _:
            return None
