"""A configuration is a headgate.toml in an empty folder, an environment and flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from headgate.core.errors import SourceMisconfigured
from headgate.settings import Configuration, ConfiguredSource, load


class Read(Protocol):
    def __call__(
        self, text: str | None = None, environ: Mapping[str, str] = ..., **flags: object
    ) -> Configuration: ...


class Mistakes(Protocol):
    def __call__(
        self, text: str | None = None, environ: Mapping[str, str] = ..., **flags: object
    ) -> list[str]: ...


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load the configuration that a file of this text, an environment and flags make."""

    def read(
        text: str | None = None, environ: Mapping[str, str] = {}, **flags: object
    ) -> Configuration:
        if text is not None:
            (tmp_path / "headgate.toml").write_text(text, encoding="utf-8")
        return load(environ, flags=flags, cwd=tmp_path)

    return read


@pytest.fixture
def mistakes(read: Read, tmp_path: Path) -> Mistakes:
    """List the mistakes of a configuration, which must have some; the folder's path is left out."""

    def mistakes(
        text: str | None = None, environ: Mapping[str, str] = {}, **flags: object
    ) -> list[str]:
        with pytest.raises(SourceMisconfigured) as refused:
            read(text, environ, **flags)
        return [each.replace(f"{tmp_path}/", "") for each in refused.value.mistakes]

    return mistakes


@pytest.fixture
def source(read: Read) -> Callable[..., ConfiguredSource]:
    """The source that these lines of `[sources.catalog]` describe."""

    def source(lines: str = "", environ: Mapping[str, str] = {}) -> ConfiguredSource:
        (only,) = read(f"[sources.catalog]\n{lines}", environ).sources
        return only

    return source


@pytest.fixture
def wrong(mistakes: Mistakes) -> Callable[..., str]:
    """The only mistake in these lines of `[sources.catalog]`."""

    def wrong(lines: str, environ: Mapping[str, str] = {}) -> str:
        (only,) = mistakes(f"[sources.catalog]\n{lines}", environ)
        return only

    return wrong
