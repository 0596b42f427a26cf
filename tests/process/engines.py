"""On which engines a test runs: `@on_both_engines`, or with PostgreSQL in the long run only."""

from __future__ import annotations

import pytest

on_both_engines = pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)

on_both_engines_at_length = pytest.mark.parametrize(
    "engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.long)], indirect=True
)

on_postgres = pytest.mark.parametrize("engine", ["postgres"], indirect=True)
