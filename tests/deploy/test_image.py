"""The Dockerfile: what is in the image, who runs it, and what it does without being told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from headgate.api import health
from headgate.settings.options import Settings
from tests.deploy.files import TOP, understood

TEXT = (TOP / "Dockerfile").read_text(encoding="utf-8")
LINES = [
    (found[1], " ".join(found[2].split()))
    for found in re.finditer(
        r"^([A-Z]+) ((?:.*\\\n)*.*)$", re.sub(r"^#.*\n", "", TEXT, flags=re.M), re.M
    )
]
START = [number for number, (word, _) in enumerate(LINES) if word == "FROM"]
BUILD, RUNTIME = LINES[START[0] : START[1]], LINES[START[1] :]


def said(stage: list[tuple[str, str]], word: str) -> list[str]:
    """The arguments of every instruction of a kind."""
    return [rest.replace("\\ ", "") for kind, rest in stage if kind == word]


def from_context(stage: list[tuple[str, str]]) -> list[str]:
    return [rest.split()[0].rstrip("/") for rest in said(stage, "COPY") if "--from" not in rest]


def test_both_stages_are_of_one_base_that_can_be_pinned():
    assert said(LINES[: START[0]], "ARG") == ["PYTHON_IMAGE=python:3.13-slim"]
    assert said(BUILD, "FROM") == ["${PYTHON_IMAGE} AS build"]
    assert said(RUNTIME, "FROM") == ["${PYTHON_IMAGE}"]


def test_requirements_are_installed_by_their_hashes_before_the_code_is_copied():
    install = next(n for n, (word, rest) in enumerate(BUILD) if "pip" in rest and word == "RUN")

    assert (
        "--require-hashes --only-binary :all: -r /build/requirements.txt" in said(BUILD, "RUN")[0]
    )
    assert from_context(BUILD[:install]) == ["requirements.txt"]
    assert from_context(BUILD[install:]) == ["LICENSE", "headgate"]


def test_what_is_copied_is_let_in_and_nothing_else():
    rules = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]

    assert next(rule for rule in rules if not rule.startswith("#")) == "*"
    assert sorted(let_in) == sorted(from_context(LINES))
    assert all((TOP / each).exists() for each in let_in)


def test_what_runs_has_nothing_that_installs():
    copied = [rest.split() for rest in said(RUNTIME, "COPY")]
    (done,) = said(RUNTIME, "RUN")

    assert copied == [["--from=build", f, f] for f in ("/venv", "/app")]
    assert "--without-pip /venv" in said(BUILD, "RUN")[0]
    assert done.startswith("rm -rf /usr/local/lib/python3*/site-packages/* ")
    assert "/usr/local/bin/pip*" in done


def test_it_runs_as_a_user_who_owns_nothing_but_the_data():
    (user,) = said(RUNTIME, "USER")
    uid, gid = user.split(":")

    assert int(uid) > 1_000
    assert said(RUNTIME, "VOLUME") == ['["/data"]']
    assert f"install -d -o {uid} -g {gid} -m 0700 /data" in said(RUNTIME, "RUN")[0]


def test_the_database_is_in_the_data_unless_anybody_says_where(monkeypatch):
    (variables,) = said(RUNTIME, "ENV")
    environ = dict(each.split("=", 1) for each in variables.split())
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert environ["PYTHONDONTWRITEBYTECODE"] == "1"
    assert not [name for name in environ if name.startswith("HEADGATE_")]
    assert Settings().database_url.get_secret_value() == "sqlite:////data/headgate/headgate.db"


def test_it_serves_and_refuses_to_be_open():
    entry, arguments = (
        json.loads(said(RUNTIME, "ENTRYPOINT")[0]),
        json.loads(said(RUNTIME, "CMD")[0]),
    )

    assert entry == ["python", "-m", "headgate"]
    assert arguments == ["serve", "--host", "0.0.0.0"]
    assert understood(arguments) == "serve"
    assert said(RUNTIME, "EXPOSE") == [str(Settings.model_fields["port"].default)]
    assert said(RUNTIME, "STOPSIGNAL") == ["SIGTERM"]


@contextmanager
def answering(status: int) -> Iterator[str]:
    """Something that answers every GET with a status; yields where."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == health.ROUTES[0].path else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_the_process_itself(status, code):
    check = json.loads(said(RUNTIME, "HEALTHCHECK")[0].partition(" CMD ")[2])
    assert check[:2] == ["python", "-c"]
    nobody = {"http_proxy": "http://127.0.0.1:9"}

    with answering(status) as address:
        script = check[2].replace("127.0.0.1:8000", address)
        done = subprocess.run([sys.executable, "-c", script], env=nobody, capture_output=True)

    assert done.returncode == code
