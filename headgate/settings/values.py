"""What one value of the configuration may be, as pydantic types: durations, rates, ids, secrets.

Each says what to write instead. None repeats a value that may hold a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationInfo,
)

from headgate.core import units
from headgate.core.ids import MAX_INTEGER, Id, IdRule, IdType, mistake_in
from headgate.core.quota import Window
from headgate.store.postgres.url import PostgresUrl, parse_postgres_url

V = TypeVar("V")

_ID_RULES: Mapping[type, IdRule] = {int: IdRule(), str: IdRule(IdType.TEXT)}


def in_quotes(read: Callable[[str], V], example: str) -> PlainValidator:
    """Read a value that is written as a text, and tell people who wrote a bare number how it is written."""

    def validate(value: object) -> V:
        if isinstance(value, str):
            return read(value)
        raise ValueError(f'should be written in quotes and with its unit, such as "{example}"')

    return PlainValidator(validate)


def listed(value: object) -> object:
    """Take a single text for a list of one."""
    return [value] if isinstance(value, str) else value


def _one_window_per_span(windows: list[Window]) -> list[Window]:
    spans = [window.span_us for window in windows]
    if twice := {span for span in spans if spans.count(span) > 1}:
        raise ValueError(f"there are two windows of {units.spoken(min(twice))}: keep one")
    return windows


def _pause(text: str) -> int | None:
    return None if text == "none" else units.duration_us(text)


def _ids(value: object) -> frozenset[Id]:
    if isinstance(value, list) and not any(map(_id_mistake, value)):
        return frozenset(value)
    raise ValueError("should be a list of ids: whole numbers, or texts in quotes")


def _id_mistake(value: object) -> str | None:
    rule = _ID_RULES.get(type(value))
    return mistake_in(rule, value) if rule else "neither"


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression as Python has them: {error}") from None
    return text


Duration = Annotated[int, in_quotes(units.duration_us, "5s")]
Positive = Annotated[int, in_quotes(units.duration_us, "5s"), Field(gt=0)]
Pause = Annotated[int | None, in_quotes(_pause, "5s")]
Rate = Annotated[Window, in_quotes(units.window, "10/s")]
Rates = Annotated[list[Rate], AfterValidator(_one_window_per_span), BeforeValidator(listed)]
Size = Annotated[int, in_quotes(units.size_bytes, "32MiB"), Field(ge=1)]
Names = Annotated[list[str], BeforeValidator(listed)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Cost = Annotated[int, Field(ge=0, le=1_000_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Integer = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
IdSet = Annotated[frozenset[Id], PlainValidator(_ids)]
Pattern = Annotated[str, AfterValidator(_pattern)]


# --- secrets, by reference -----------------------------------------------------------------------

_REFERENCE = re.compile(r"\$\{(?:(env|file):([^{}]+)\})?")


@dataclass(frozen=True, slots=True)
class References:
    """Where `${env:NAME}` and `${file:/path}` find what they stand for."""

    environ: Mapping[str, str] = field(repr=False)
    cwd: Path
    read: bool = True
    """False: this process calls no source, and needs no secret of theirs."""

    def filled(self, text: str) -> str:
        """Put in what the references stand for. Raises ValueError, which names the variable or file, never a value."""
        return _REFERENCE.sub(self._value, text)

    def _value(self, reference: re.Match[str]) -> str:
        kind, name = reference[1], reference[2]
        if kind is None:
            raise ValueError("has a ${ that begins neither ${env:NAME} nor ${file:/path}")
        if not self.read:
            return "unread"
        return self._from_environ(name) if kind == "env" else self._from_file(name)

    def _from_environ(self, name: str) -> str:
        value = self.environ.get(name, "").strip()
        if not value:
            raise ValueError(f"the environment variable {name} is not set: set it before the start")
        return value

    def _from_file(self, name: str) -> str:
        try:
            value = (self.cwd / name).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ValueError(f"the file {name} cannot be read ({why})") from None
        if not value:
            raise ValueError(f"the file {name} is empty: put the secret into it")
        return value


def filled(value: object, info: ValidationInfo) -> object:
    """Fill in the references of a text with those of the validation's context."""
    if isinstance(value, str) and isinstance(info.context, References):
        return info.context.filled(value)
    return value


def without_reference(text: str) -> str:
    if _REFERENCE.search(text):
        raise ValueError(
            "takes no ${...}, for it is shown and logged: only headers, api_keys and database_url do"
        )
    return text


def _one_header_per_name(headers: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header is named twice: upper and lower case are the same")
    return headers


PlainText = Annotated[str, AfterValidator(without_reference)]
Headers = Annotated[
    dict[str, Annotated[str, BeforeValidator(filled)]], AfterValidator(_one_header_per_name)
]


# --- options of the process ----------------------------------------------------------------------

SQLITE = "sqlite:///"


def _comma_listed(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _listed_keys(value: object) -> object:
    """No keys at all is said by leaving the option out: an empty text is a secret that got lost on the way."""
    keys = _comma_listed(value)
    if isinstance(value, str) and not keys:
        raise ValueError("is empty: unset it, or write a key")
    return keys


def _key(key: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]{16,}", key.get_secret_value()):
        raise ValueError(
            "a key is at least 16 characters of ASCII without spaces: make one with"
            " python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    return key


def _origin(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@*]+", text):
        raise ValueError(
            "should be an origin such as https://app.example.com: no path, no slash at its end, and"
            " not *, which would let every web page in"
        )
    return text


def _host_name(text: str) -> str:
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", text):
        raise ValueError("should be the name of a host, such as api.example.com, without a port")
    return text.lower()


def _whole(value: object) -> object:
    if type(value) in {bool, float}:
        raise ValueError("should be a whole number")
    return value


def _bytes(value: object) -> object:
    return (
        units.size_bytes(value) if isinstance(value, str) and value[-1:] == "B" else _whole(value)
    )


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def database_at(url: str, cwd: Path) -> Path | PostgresUrl:
    """The database that a URL names. Raises ValueError, which never shows the URL: it may hold a password."""
    if re.match(r"postgres(ql)?:", url):
        return parse_postgres_url(url)
    path = url.removeprefix(SQLITE)
    if not url.startswith(SQLITE) or path in {"", ":memory:"} or path.endswith("/"):
        raise ValueError(
            "should name a SQLite file (sqlite:///relative/path.db or sqlite:////absolute/path.db)"
            " or a PostgreSQL database (postgresql://user:password@host/name)"
        )
    if "?" in path or path.startswith("~"):
        raise ValueError("takes neither options after ? nor ~: write the whole path of the file")
    return (cwd / path).absolute()


def _database_url(url: SecretStr) -> SecretStr:
    database_at(url.get_secret_value(), Path())
    return url


ApiKey = Annotated[SecretStr, AfterValidator(_key), BeforeValidator(filled)]
ApiKeys = Annotated[tuple[ApiKey, ...], BeforeValidator(_listed_keys)]
Origin = Annotated[str, AfterValidator(_origin)]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(_comma_listed)]
HostName = Annotated[str, AfterValidator(_host_name)]
SourceNames = Annotated[tuple[PlainText, ...], BeforeValidator(_comma_listed)]
HostNames = Annotated[tuple[HostName, ...], BeforeValidator(_comma_listed)]
Whole = Annotated[int, BeforeValidator(_whole)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url), BeforeValidator(filled)]
