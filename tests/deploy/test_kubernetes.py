"""deploy/kubernetes/: by the published schema, and by what Headgate asks of whoever starts it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import jsonschema_rs
import pytest

from headgate import __version__
from headgate.api import health
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

FOLDER = DEPLOY / "kubernetes"
APPLIED = [each for file in sorted(FOLDER.glob("*.yaml")) for each in documents(file)]
SECRETS = {
    each["metadata"]["name"]: each["stringData"]
    for each in documents(FOLDER / "secrets.yaml.example")
}
KINDS = {"Deployment": "apps", "Job": "batch", "PodDisruptionBudget": "policy"}


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {
        each["metadata"]["name"]: each.get("spec", each)
        for each in APPLIED
        if each["kind"] in kinds
    }


DEPLOYMENTS = of_kind("Deployment")
PODS = {name: each["template"]["spec"] for name, each in of_kind("Deployment", "Job").items()}
TOML: str = of_kind("ConfigMap")["headgate"]["data"]["headgate.toml"]


def container(name: str) -> dict[str, Any]:
    (only,) = PODS[name]["containers"]
    return dict(only)


def secrets_of(name: str) -> list[str]:
    return [each["secretRef"]["name"] for each in container(name)["envFrom"]]


def variables_of(name: str) -> dict[str, str]:
    """What a container's process sees, with the values of the example's secrets."""
    secret = {key: value for each in secrets_of(name) for key, value in SECRETS[each].items()}
    plain = {each["name"]: each["value"] for each in container(name).get("env", [])}
    return {**secret, **plain} | (
        {"HEADGATE_API_KEYS": KEY} if "HEADGATE_API_KEYS" in secret else {}
    )


@pytest.mark.parametrize(
    "document",
    [*APPLIED, *documents(FOLDER / "secrets.yaml.example")],
    ids=lambda each: f"{each['kind']}-{each['metadata']['name']}",
)
def test_it_is_what_kubernetes_understands(document):
    definitions = schema("kubernetes-1.30.json")
    kind = f"io.k8s.api.{KINDS.get(document['kind'], 'core')}.v1.{document['kind']}"
    validator = jsonschema_rs.Draft202012Validator({**definitions, "$ref": f"#/$defs/{kind}"})

    assert [(e.instance_path, e.message) for e in validator.iter_errors(document)] == []


def test_everything_is_there_and_nothing_that_is_secret():
    kinds = Counter(each["kind"] for each in APPLIED)
    twice = {"Deployment": 2, "PodDisruptionBudget": 2}

    assert kinds == {"ConfigMap": 1, "Job": 1, "Namespace": 1, "Service": 1, **twice}
    assert [text for each in SECRETS.values() for text in each.values()] == [
        "postgresql://headgate:PASSWORD@HOST/headgate",
        "KEY",
        "TOKEN",
    ]


@pytest.mark.parametrize("name", PODS)
def test_every_container_can_do_no_more_than_it_has_to(name):
    pod, rights = PODS[name], container(name)["securityContext"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10_001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert rights == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container(name)["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_every_pod_has_time_to_end_its_calls(name):
    assert PODS[name]["terminationGracePeriodSeconds"] >= GRACE_S


@pytest.mark.parametrize("name", PODS)
def test_no_service_is_taken_for_an_option(name):
    assert PODS[name]["enableServiceLinks"] is False


def test_every_command_is_one_of_headgate():
    commands = {name: understood(container(name)["args"]) for name in PODS}

    assert commands == {
        "headgate-api": "serve",
        "headgate-worker": "worker",
        "headgate-migrate": "migrate",
    }
    assert "--no-worker" in container("headgate-api")["args"]


def test_every_container_is_of_this_version():
    images = {container(name)["image"].rpartition("/")[2] for name in PODS}

    assert images == {f"headgate:{__version__}"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_probes_ask_for_what_is_there(name):
    paths = {
        probe: container(name)[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "liveness", "readiness")
    }

    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert set(paths.values()) <= {route.path for route in health.ROUTES}
    assert container(name)["ports"] == [{"name": "http", "containerPort": 8_000}]
    assert container(name)["args"][-2:] == ["--host", "0.0.0.0"]  # or no probe reaches it


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_one_of_two_stays(name):
    budget = of_kind("PodDisruptionBudget")[name]
    deployment = DEPLOYMENTS[name]
    labels = deployment["template"]["metadata"]["labels"]

    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"] == {"matchLabels": labels}


def test_the_service_leads_to_the_api():
    service = of_kind("Service")["headgate"]

    assert service["selector"] == DEPLOYMENTS["headgate-api"]["template"]["metadata"]["labels"]
    assert service["ports"][0]["targetPort"] == "http"


def test_only_workers_have_the_secrets_of_sources():
    assert [name for name in PODS if "headgate-sources" in secrets_of(name)] == ["headgate-worker"]
    assert [name for name in PODS if "headgate-api" in secrets_of(name)] == ["headgate-api"]
    assert {each for name in PODS for each in secrets_of(name)} == SECRETS.keys()


@pytest.mark.parametrize("name", PODS)
@pytest.mark.parametrize("change", [str, with_a_real_source])
def test_every_process_gets_what_its_configuration_refers_to(name, change, tmp_path):
    environ = variables_of(name)
    mounted = "volumes" in PODS[name]

    found = configured(
        environ, change(TOML) if mounted else "", tmp_path, calls=name == "headgate-worker"
    )

    assert {variable for variable in environ if variable.startswith("HEADGATE_")} <= set(VARIABLES)
    assert found.database
    assert mounted == ("HEADGATE_CONFIG" in environ) == (name in DEPLOYMENTS)


def test_the_configuration_is_the_one_beside():
    beside = (DEPLOY / "headgate.toml").read_text(encoding="utf-8")

    assert beside == TOML


def test_no_file_of_deploy_leads_to_a_host():
    texts = [path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*") if path.is_file()]
    hosts = {host for text in texts for host in re.findall(r"https?://([\w.-]+)", text)}

    assert hosts == {"api.example.com"}
