"""The address of a call: an RFC 6570 template filled with ids. Pure.

An id can never change anything but its own place: it is always percent-encoded as a value, the host and the port
come from the template alone, and an address in which an id became a step up the path is not built.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from uritemplate.variable import URIVariable, VariableValueDict

from headgate.core.ids import Id, encodable
from headgate.core.outcome import Rejected

MAX_URL = 65_000
"""Longer than any server takes, and just under what the client can build."""

_EXPRESSION = re.compile(r"(?P<operator>[./;?&]?)(?P<name>ids?)(?P<explode>\*?)", re.ASCII)
_AUTHORITY = re.compile(r"https?://[^/?#@\s\\{}]+(?=[/?]|\Z)", re.ASCII | re.IGNORECASE)
_LEGAL = "!$&'()*+,;=:@/?%"
"""What RFC 3986 lets stand in a query as it is, beside letters and digits; `%` is looked at apart."""


@dataclass(frozen=True, slots=True)
class UrlTemplate:
    """A template that was found good. `one`: it takes one id a call. It does not print itself: it may hold a key."""

    pieces: tuple[str | URIVariable, ...] = field(repr=False)
    join: str
    one: bool


def url_template(url: str, join: str = ",") -> UrlTemplate:
    """Read a template, or raise ValueError with what is wrong and what to write instead.

    It holds `{id}` (one id a call) or `{ids}`, where wanted with an operator of RFC 6570: `{?ids}`, `{&ids}`,
    `{/ids}`, `{;ids}`, `{.ids}`; a star repeats the key: `{?ids*}` makes `?ids=1&ids=2`. `{+ids}` and `{#ids}`
    are refused, since with them an id could change the address.
    """
    split = re.split(r"\{([^{}]*)\}", url)
    literals, expressions = split[::2], [_expression(text) for text in split[1::2]]
    _check_expressions(expressions)
    _check_address(literals, expressions)
    pieces: list[str | URIVariable] = [literals[0]]
    for expression, literal in zip(expressions, literals[1:], strict=True):
        pieces += [expression, literal]
    one = expressions[0].variable_names == ["id"]
    if not one and not join:
        raise ValueError(
            "join: an empty text would let the ids run into each other; the usual one is ','"
        )
    return UrlTemplate(tuple(pieces), _readable(join), one)


def request_url(template: UrlTemplate, ids: Sequence[Id]) -> str | Rejected:
    """Fill in the ids, in their order, or say why no address can ask for them."""
    texts = [str(value) for value in ids]
    if not texts or not all(texts) or not all(map(encodable, texts)):
        return Rejected("not asked: an id cannot be written into an address")
    if template.one and len(texts) > 1:
        return Rejected("not asked: the address takes one id a call")
    url = "".join(_filled(piece, texts, template) for piece in template.pieces)
    if len(url) > MAX_URL:
        return Rejected("not asked: the address would be too long")
    if _climbs(url):
        return Rejected("not asked: an id would change the path of the address")
    return url


def _filled(piece: str | URIVariable, texts: list[str], template: UrlTemplate) -> str:
    if isinstance(piece, str):
        return piece
    values: VariableValueDict = {"id": texts[0], "ids": texts}
    expanded: str = piece.expand(values)[piece.original]
    if piece.variables[0][1]["explode"]:
        return expanded
    # Every comma of the ids themselves was encoded, so these are the ones between them.
    return expanded.replace(",", template.join)


def _expression(text: str) -> URIVariable:
    match = _EXPRESSION.fullmatch(text)
    if match is None or (match["name"] == "id" and match["explode"]):
        raise ValueError(
            f"url: {{{text[:40]}}} is not understood; write {{id}}, {{ids}}, {{?ids}}, {{&ids}}, {{/ids}},"
            " or {?ids*} to repeat the key"
        )
    return URIVariable(text)


def _check_expressions(expressions: Sequence[URIVariable]) -> None:
    names = {name for expression in expressions for name in expression.variable_names}
    if not names:
        raise ValueError("url: nothing says where the ids go; write {ids}, {?ids} or {id}")
    if len(names) > 1:
        raise ValueError("url: {id} and {ids} do not go together")


def _check_address(literals: Sequence[str], expressions: Sequence[URIVariable]) -> None:
    authority = _AUTHORITY.match(literals[0])
    if authority is None or not _splits(authority[0]):
        raise ValueError(
            "url: it must begin with http:// or https:// and a host that is written out;"
            " user and password go into `headers`"
        )
    operator = expressions[0].operator.value
    if authority.end() == len(literals[0]) and operator not in {"/", "?"}:
        raise ValueError("url: an id may not be part of the host; put a / before it")
    if any(set("{}#") & set(text) or not text.isprintable() or " " in text for text in literals):
        raise ValueError(
            "url: it holds a brace without its pair, a #, a space or an invisible character"
        )
    _check_query(literals, expressions)
    if _climbs("".join(literals)):
        raise ValueError("url: write the path without /./ and /../")


def _check_query(literals: Sequence[str], expressions: Sequence[URIVariable]) -> None:
    before: Literal["", "?"] = ""
    for literal, expression in zip(literals, expressions, strict=False):
        before = "?" if before or "?" in literal else ""
        operator = expression.operator.value
        if operator == "?" and before:
            raise ValueError("url: after a ? write {&ids}, not {?ids}")
        if operator == "&" and not before:
            raise ValueError("url: {&ids} goes on a query that has begun; write {?ids}")
        before = "?" if operator == "?" else before


def _splits(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _climbs(url: str) -> bool:
    """Whether the path has a segment that a client would resolve away: `/items/..` is not a thing to ask for."""
    path = url.partition("://")[2].partition("?")[0]
    return any(segment in {".", ".."} for segment in path.split("/")[1:])


def _readable(join: str) -> str:
    """The text between ids as it stands in the address: legal characters and %XX as written, the rest encoded."""
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(join, safe=_LEGAL))
