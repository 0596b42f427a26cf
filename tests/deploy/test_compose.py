"""deploy/compose.yaml: by its published schema, and by what Headgate asks of whoever starts it."""

from __future__ import annotations

import re

import jsonschema_rs
import pytest

from headgate.core.units import duration_us
from headgate.settings.options import VARIABLES
from tests.deploy.files import (
    DEPLOY,
    GRACE_S,
    KEY,
    configured,
    documents,
    schema,
    understood,
    with_a_real_source,
)

FILE = DEPLOY / "compose.yaml"
(COMPOSE,) = documents(FILE)
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "headgate"}
EXAMPLE = (DEPLOY / ".env.example").read_text(encoding="utf-8")
GIVEN = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
TOML = (DEPLOY / "headgate.toml").read_text(encoding="utf-8")


def test_it_is_what_compose_understands():
    errors = jsonschema_rs.Draft7Validator(schema("compose-spec.json")).iter_errors(COMPOSE)

    assert [(error.instance_path, error.message) for error in errors] == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_can_do_no_more_than_it_has_to(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    # ours is in the Dockerfile: see test_image
    assert service.get("user", "0") not in {"0", "root"} or name in OURS
    assert duration_us(service["stop_grace_period"]) >= GRACE_S * 1_000_000


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"migrate"}))
def test_what_stays_comes_back(name):
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_every_command_is_one_of_headgate():
    commands = {n: understood(s["command"]) for n, s in OURS.items() if "command" in s}

    assert commands == {"migrate": "migrate", "api": "serve", "worker": "worker"}
    assert "--no-worker" in OURS["api"]["command"]
    assert [OURS[name]["deploy"]["replicas"] for name in ("api", "worker")] == [2, 2]


def test_one_line_of_the_example_chooses_what_starts():
    def started(profile: str) -> set[str]:
        return {name for name, service in SERVICES.items() if service["profiles"] == [profile]}

    assert GIVEN["COMPOSE_PROFILES"] == "postgresql"
    assert started("postgresql") == {"database", "migrate", "api", "worker"}
    assert started("sqlite") == {"alone"}
    assert "HEADGATE_DATABASE_URL" not in SERVICES["alone"]["environment"]
    assert "data:/data" in SERVICES["alone"]["volumes"]


def test_tables_are_made_before_anybody_needs_them():
    assert SERVICES["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    for name in ("api", "worker"):
        waits_for = SERVICES[name]["depends_on"]
        assert waits_for == {"migrate": {"condition": "service_completed_successfully"}}
    assert "healthcheck" in SERVICES["database"]
    assert "synchronous_commit=on" in SERVICES["database"]["command"]


def test_the_example_has_every_variable_and_no_secret():
    filled_in = set(re.findall(r"\$\{(\w+)", FILE.read_text(encoding="utf-8")))

    assert filled_in == GIVEN.keys() - {"COMPOSE_PROFILES"}
    assert [GIVEN[name] for name in filled_in] == [""] * len(filled_in)
    assert ".env" in (DEPLOY / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", sorted(OURS.keys() - {"migrate"}))
@pytest.mark.parametrize("change", [str, with_a_real_source])
def test_every_process_gets_what_its_configuration_refers_to(name, change, tmp_path):
    values = {"HEADGATE_API_KEYS": KEY, "POSTGRES_PASSWORD": "secret", "CATALOG_TOKEN": "token"}
    environ = {
        variable: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: values[found[1]], text)
        for variable, text in OURS[name]["environment"].items()
    }

    calls = "--no-worker" not in OURS[name].get("command", [])

    found = configured(environ, change(TOML), tmp_path, calls=calls)

    assert {v for v in environ if v.startswith("HEADGATE_")} <= set(VARIABLES)
    assert bool(found.settings.api_keys) == (name != "worker")
    assert "./headgate.toml:/app/headgate.toml:ro" in OURS[name]["volumes"]


def test_the_api_does_not_get_the_tokens_of_sources():
    tokens = {name: s["environment"].get("CATALOG_TOKEN") for name, s in OURS.items()}

    assert [name for name, value in tokens.items() if value and "$" in value] == ["worker", "alone"]


def test_nothing_is_published_beyond_this_host():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert [port["published"] for port in published] == ["8000-8001", "8000"]
