"""Every option: its type, default and meaning, and where it comes from: defaults < headgate.toml < HEADGATE_* < flags.

`load` is the door: environment and flags in, a whole configuration out, or every mistake at once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from headgate.core.errors import SourceMisconfigured
from headgate.core.model import QuotaSpec
from headgate.settings.described.reading import Described, described
from headgate.settings.described.specs import ConfiguredSource
from headgate.settings.mistakes import ConfigFile, dotted, instead, sentence, validated
from headgate.settings.values import (
    SQLITE,
    ApiKeys,
    Bytes,
    DatabaseUrl,
    HostNames,
    LogLevel,
    Origins,
    PlainText,
    References,
    SourceNames,
    Whole,
    database_at,
)
from headgate.store.postgres.url import PostgresUrl

__all__ = ["Configuration", "ConfiguredSource", "Settings", "load"]

PREFIX = "HEADGATE_"

FOR_TESTS = frozenset({"HEADGATE_FAILPOINT"})
"""Known to the environment, and no option: it ends the process at a named place."""

FALLBACKS = {"DATABASE_URL": "database_url", "PORT": "port"}
"""Variables that platforms set, taken where the one with the prefix is not set."""

TABLES = frozenset({"sources", "quotas"})
"""What the file may have beside options: see described/."""

_KUBERNETES = re.compile(r"HEADGATE_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP))")


def _default_database_url() -> SecretStr:
    folder = Path(platformdirs.user_data_dir("headgate", appauthor=False))
    return SecretStr(f"{SQLITE}{(folder / 'headgate.db').as_posix()}")


class Settings(BaseModel):
    """The options of one process. Keys hide themselves when printed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    database_url: DatabaseUrl = Field(
        default_factory=_default_database_url,
        description="Where everything is kept: sqlite:///path of a file, or postgresql://user:password@host/name.",
    )
    host: PlainText = Field(
        default="127.0.0.1", min_length=1, description="The address to listen on."
    )
    port: Whole = Field(
        default=8000,
        ge=0,
        le=65_535,
        description="The port to listen on; 0 takes any that is free.",
    )
    api_keys: ApiKeys = Field(
        default=(), description="Who may call: one of these as a bearer token. None: everybody may."
    )
    cors_origins: Origins = Field(default=(), description="Origins whose web pages may call.")
    allowed_hosts: HostNames = Field(
        default=(), description="Names under which this server may be addressed (the Host header)."
    )
    default_source: PlainText | None = Field(
        default=None, description="Where /ingest goes; without it to the only source that there is."
    )
    max_ids: Whole = Field(
        default=1_000_000, ge=1, description="The most ids that one submission may have."
    )
    max_body_bytes: Bytes = Field(
        default=64 * 1024 * 1024,
        ge=1,
        description="The most bytes that the body of a request may have.",
    )
    config: Path | None = Field(
        default=None,
        description="The configuration file; without it ./headgate.toml, if there is one.",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="Log lines for people, or one JSON object a line."
    )
    log_level: LogLevel = Field(
        default="info", description="The least serious log lines that are written."
    )
    worker: bool = Field(default=True, description="Whether this process calls the sources.")
    worker_sources: SourceNames = Field(
        default=(), description="Which sources this process calls; without it all that it knows."
    )


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a process is told: options, where the database is, sources, shared quotas, where /ingest goes."""

    settings: Settings
    database: Path | PostgresUrl
    sources: tuple[ConfiguredSource, ...]
    quotas: tuple[QuotaSpec, ...]
    default_source: str


# --- where options come from ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """The value of an option as it was written, and the place where it was."""

    value: object = field(repr=False)
    place: str


_Layer = dict[str, _Given]
_Note = Callable[[str, str], None]
"""Takes down a mistake: its place, what is wrong."""

VARIABLES = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}


def load(
    environ: Mapping[str, str],
    *,
    flags: Mapping[str, object] = MappingProxyType({}),
    cwd: Path = Path(),
) -> Configuration:
    """Read the whole configuration. Raises SourceMisconfigured with every mistake in it.

    A flag that is None was not given. Relative paths count from `cwd`.
    """
    mistakes: list[str] = []
    configuration = _read(environ, flags, cwd, lambda *said: mistakes.append(sentence(*said)))
    if mistakes:
        raise SourceMisconfigured(*mistakes)
    return configuration


def _read(
    environ: Mapping[str, str], flags: Mapping[str, object], cwd: Path, note: _Note
) -> Configuration:
    references = References(environ, cwd)
    by_flag = _from_flags(flags, note)
    by_variable = _from_environ(environ, by_flag, note)
    file = _read_file(by_flag.get("config", by_variable.get("config")), cwd, note)
    layers = [_from_file(file, note), by_variable, by_flag]
    settings = _layered(layers, references, note).model_copy(update={"config": file.path})
    sources = described(file.tables, replace(references, read=settings.worker))
    for mistake in sources.mistakes:
        note(file.place(mistake.keys), mistake.what)
    _check_called(settings.worker_sources, sources, file, layers, note)
    return Configuration(
        settings=settings,
        database=database_at(settings.database_url.get_secret_value(), cwd),
        sources=sources.sources,
        quotas=sources.quotas,
        default_source=_default_source(settings.default_source, sources, file, layers, note),
    )


def _from_flags(flags: Mapping[str, object], note: _Note) -> _Layer:
    layer = {}
    known = {_flag(name): name for name in Settings.model_fields}
    for name, value in flags.items():
        if _flag(name) not in known:
            note(_flag(name), f"this flag is unknown; {instead(_flag(name), known)}")
        elif value is not None:
            layer[name] = _Given(value, _flag(name))
    return layer


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _from_environ(environ: Mapping[str, str], by_flag: _Layer, note: _Note) -> _Layer:
    """HEADGATE_* and what platforms set. An empty variable counts as not set, but for the keys: fail closed."""
    layer = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in FOR_TESTS or _of_kubernetes(name, value):
            continue
        if name not in VARIABLES:
            note(name, f"this variable is unknown; {instead(name, VARIABLES)}")
        elif value.strip() or VARIABLES[name] == "api_keys":
            layer[VARIABLES[name]] = _Given(value, name)
    for name, option in FALLBACKS.items():
        if environ.get(name) and option not in layer and option not in by_flag:
            layer[option] = _Given(environ[name], name)
    return layer


def _of_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes set this for a service that happens to be called headgate: such are not meant for us."""
    address = name == f"{PREFIX}PORT" and value.startswith(("tcp://", "udp://"))
    return address or _KUBERNETES.match(name) is not None


def _read_file(named: _Given | None, cwd: Path, note: _Note) -> ConfigFile:
    """Read the file that was named or else lies there; none is as good as an empty one."""
    path = cwd / (str(named.value) if named else "headgate.toml")
    if named is None and not path.is_file():
        return ConfigFile(None)
    try:
        text = path.read_text(encoding="utf-8-sig")
        return ConfigFile(path, text, tomllib.loads(text))
    except OSError as error:
        place = named.place if named else str(path)
        note(place, f"the file {path} cannot be read ({error.strerror}): name one that is there")
    except UnicodeDecodeError:
        note(str(path), "should be text in UTF-8")
    except tomllib.TOMLDecodeError as error:
        note(str(path), f"this is not TOML: {error}")
    return ConfigFile(path, whole=False)


def _from_file(file: ConfigFile, note: _Note) -> _Layer:
    layer = {}
    options = Settings.model_fields.keys() - {"config"}
    for name, value in file.tables.items():
        place = file.place((name,))
        if name in options:
            layer[name] = _Given(value, place)
        elif name not in TABLES:
            note(place, f"this key is unknown; {instead(name, {*options, *TABLES})}")
    return layer


def _layered(layers: Sequence[_Layer], references: References, note: _Note) -> Settings:
    """The defaults, overlaid by each layer in turn; a wrong value is a mistake even if a later layer covers it."""
    settings = Settings()
    for layer in layers:
        written = {name: given.value for name, given in layer.items()}
        part, mistakes = validated(Settings, written, context=references)
        settings = settings.model_copy(
            update={name: getattr(part, name) for name in part.model_fields_set}
        )
        for mistake in mistakes:
            option, *inner = mistake.keys
            note(f"{layer[str(option)].place}{dotted(inner)}", mistake.what)
    return settings


def _check_called(
    chosen: Sequence[str],
    sources: Described,
    file: ConfigFile,
    layers: Sequence[_Layer],
    note: _Note,
) -> None:
    """Every source that is to be called has to be there."""
    names = [source.spec.name for source in sources.sources]
    named = [layer["worker_sources"] for layer in layers if "worker_sources" in layer]
    for name in chosen:
        if name not in names and file.whole:
            note(named[-1].place, f"there is no source {name!r}; {instead(name, names)}")


def _default_source(
    chosen: str | None, sources: Described, file: ConfigFile, layers: Sequence[_Layer], note: _Note
) -> str:
    """The source that was named, else the only one."""
    names = [source.spec.name for source in sources.sources]
    named = [layer["default_source"] for layer in layers if "default_source" in layer]
    if not named and len(names) > 1:
        what = f'there are several sources: write which is for /ingest, such as "{names[0]}"'
        note(file.place(("default_source",)), what)
    if chosen is not None and chosen not in names and file.whole:
        note(named[-1].place, f"there is no source of this name; {instead(chosen, names)}")
    return chosen or names[0]
