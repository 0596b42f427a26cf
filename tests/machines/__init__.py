"""Machines as process groups in networks of their own, on one PostgreSQL, with faults between them."""

import pytest

pytest.register_assert_rewrite("tests.machines.crew", "tests.machines.share")
