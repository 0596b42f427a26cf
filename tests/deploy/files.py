"""Reading what lies in deploy/: YAML, the configuration that it brings, commands as Headgate understands them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

# no types of its own; requirements-dev.txt has it, as it has jsonschema-rs, because schemathesis needs both
import yaml  # type: ignore[import-untyped]

from headgate.cli.main import app as cli
from headgate.settings import Configuration, load

TOP = Path(__file__).parents[2]
DEPLOY = TOP / "deploy"
SCHEMAS = Path(__file__).parent / "schemas"

KEY = "a-key-of-many-letters"
GRACE_S = 45
"""A call may be under way for connect_timeout and answer_timeout, 35 s as they come."""


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def schema(name: str) -> dict[str, Any]:
    return dict(json.loads((SCHEMAS / name).read_text(encoding="utf-8")))


def understood(arguments: Sequence[str]) -> str:
    """The command that Headgate takes these arguments for. Raises where it would refuse them."""
    group: Any = typer.main.get_command(cli)
    name, command, rest = group.resolve_command(None, list(arguments))
    command.make_context(name, rest)
    return str(name)


def with_a_real_source(text: str) -> str:
    """deploy/headgate.toml as it is once somebody has followed its comments."""
    before, mark, after = text.partition("# [sources.catalog]\n")
    assert mark
    return before + re.sub(r"^# ", "", mark + after, flags=re.MULTILINE)


def configured(
    environ: Mapping[str, str], toml: str, folder: Path, *, calls: bool = True
) -> Configuration:
    """What a process with these variables and this file goes by; `calls`: whether it calls sources.

    Raises SourceMisconfigured with every mistake.
    """
    (folder / "headgate.toml").write_text(toml, encoding="utf-8")
    here = {name: value for name, value in environ.items() if name != "HEADGATE_CONFIG"}
    return load(here, flags={"worker": calls}, cwd=folder)
