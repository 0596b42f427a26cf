"""docs/configuration.md says everything that may be configured, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from headgate.core.units import spoken
from headgate.settings.described.tables import (
    CostTable,
    HttpTable,
    IdsTable,
    QuotaTable,
    SimulatedTable,
)
from headgate.settings.options import FALLBACKS, FOR_TESTS, PREFIX, Settings, load

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

SOURCE_KEYS = {**HttpTable.model_fields, **SimulatedTable.model_fields}


def row(key: str) -> list[str]:
    """The cells of the row that begins with this key, without the key."""
    found = re.search(rf"^\| `{key}` \|(.*)\|$", PAGE, re.MULTILINE)
    assert found, f"no row for {key}"
    return [cell.strip() for cell in found[1].split("|")]


@pytest.mark.parametrize("option", Settings.model_fields)
def test_every_option_has_a_row_with_its_variable(option):
    assert row(option)[0] == f"`{PREFIX}{option.upper()}`"


@pytest.mark.parametrize("model", [SimulatedTable, HttpTable, QuotaTable])
def test_every_key_of_a_table_has_a_row(model: type[BaseModel]):
    assert all(row(key) for key in model.model_fields)


@pytest.mark.parametrize("model", [CostTable, IdsTable])
def test_every_key_of_an_inner_table_is_mentioned(model: type[BaseModel]):
    assert all(re.search(rf"`{key}`|\b{key} =", PAGE) for key in model.model_fields)


def test_the_defaults_of_durations_are_those_of_the_code():
    said = {key: row(key)[0] for key in SOURCE_KEYS}
    durations = {key: text for key, text in said.items() if re.match(r'`"[0-9]+[a-z]+"', text)}

    assert len(durations) >= 11
    for key, text in durations.items():
        assert text.startswith(f'`"{spoken(SOURCE_KEYS[key].default)}"`')


def test_the_defaults_of_numbers_are_those_of_the_code():
    for key in ("concurrency", "max_attempts", "circuit_after", "missing_rate", "seed"):
        assert row(key)[0] == f"`{SimulatedTable.model_fields[key].default}`"
    for option in ("host", "port", "max_ids", "log_format", "log_level"):
        assert row(option)[1] == f"`{Settings.model_fields[option].default}`"


@pytest.mark.parametrize("name", sorted({*FALLBACKS, *FOR_TESTS}))
def test_every_other_variable_that_is_read_is_mentioned(name):
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_page_is_right(example, tmp_path):
    secret = tmp_path / "headgate_key"
    secret.write_text("a-key-of-many-letters\n")
    file = tmp_path / "headgate.toml"
    file.write_text(example.replace("/run/secrets/headgate_key", str(secret)), encoding="utf-8")

    assert load({"CATALOG_TOKEN": "secret"}, cwd=tmp_path).sources


def test_prose_has_one_sentence_per_line():
    prose = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in prose.splitlines() if not line.startswith("|")]

    assert [line for line in lines if re.search(r"[a-z`)][.!?] [A-Z`]", line)] == []
