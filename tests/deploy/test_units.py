"""The units of systemd: what systemd itself says of them, and that all three are locked up alike."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from headgate.settings.options import VARIABLES
from tests.deploy.files import DEPLOY, GRACE_S, understood

UNITS = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted([DEPLOY / "headgate.service", *(DEPLOY / "systemd").iterdir()])
}
PYTHON = "/opt/headgate/.venv/bin/python"
STATE = ("StateDirectory=", "StateDirectoryMode=")
"""Only the one with a file needs a place for it."""


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNITS[unit], re.MULTILINE)


def locks(unit: str) -> list[str]:
    lines = ("DynamicUser=yes" + UNITS[unit].partition("DynamicUser=yes")[2]).splitlines()
    return [line for line in lines if not line.startswith(STATE)]


def test_all_are_locked_up_alike():
    assert len(UNITS) == 3
    assert {tuple(locks(unit)) for unit in UNITS} == {tuple(locks("headgate.service"))}


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_a_command_and_sets_what_is_known(unit):
    (start,) = values(unit, "ExecStart")
    assert start.startswith(f"{PYTHON} -m headgate ")

    expected = "worker" if unit == "headgate-worker.service" else "serve"
    assert understood(start.split()[3:]) == expected
    assert ("--no-worker" in start) == (unit == "headgate-api.service")
    assert {name.partition("=")[0] for name in values(unit, "Environment")} <= {
        *VARIABLES,
        "PYTHONDONTWRITEBYTECODE",
    }
    assert int(values(unit, "TimeoutStopSec")[0]) >= GRACE_S


def test_only_workers_read_the_tokens_of_sources():
    files = {unit: values(unit, "EnvironmentFile") for unit in UNITS if unit != "headgate.service"}

    assert files == {
        "headgate-api.service": ["/etc/headgate/headgate.env", "/etc/headgate/api.env"],
        "headgate-worker.service": ["/etc/headgate/headgate.env", "/etc/headgate/worker.env"],
    }


def systemd(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here: systemd did not read the units")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_mistake(unit, tmp_path):
    copy = tmp_path / unit
    copy.write_text(UNITS[unit].replace(PYTHON, sys.executable), encoding="utf-8")  # it looks

    done = systemd("verify", str(copy))

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_sees_little_that_a_unit_may_do(unit, tmp_path):
    (tmp_path / unit).write_text(UNITS[unit], encoding="utf-8")

    done = systemd("security", "--offline=yes", "--threshold=15", str(tmp_path / unit))

    assert done.returncode == 0, done.stdout
