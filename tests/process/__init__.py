"""Real processes in real time: killed, stopped, crowded, without a disk, and at wrong times."""

import pytest

pytest.register_assert_rewrite(
    "tests.process.failpoints", "tests.process.judge", "tests.process.gate", "tests.process.client"
)
