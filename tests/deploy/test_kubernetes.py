"""Checks of the Kubernetes manifests that go beyond their schemas, which `make check-kubernetes` validates."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.concurrency.shutdown import REQUEST_DRAIN_SECONDS, TASK_DRAIN_SECONDS
from app.settings import Settings, load_settings
from tests.support.openapi import openapi_document

DIRECTORY = Path("deploy/kubernetes")
KUSTOMIZATIONS = sorted(DIRECTORY.rglob("kustomization.yaml"))


def load_objects() -> Iterator[dict[str, Any]]:
    for directory in ("base", "migration", "production"):
        for file in sorted((DIRECTORY / directory).glob("*.yaml")):
            if file.name != "kustomization.yaml":
                yield from yaml.safe_load_all(file.read_text())


def objects_of_kind(kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in load_objects() if manifest["kind"] == kind]


[REPLICAS] = objects_of_kind("StatefulSet")
[MIGRATION] = objects_of_kind("Job")
POD = REPLICAS["spec"]["template"]
[CONTAINER] = POD["spec"]["containers"]


def test_the_broker_accepts_the_settings(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BROKER_")]:
        monkeypatch.delenv(name)
    [generated] = yaml.safe_load((DIRECTORY / "production/kustomization.yaml").read_text())["configMapGenerator"]
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": generated["name"]}}]
    values = dict(literal.split("=", 1) for literal in generated["literals"])
    values |= {variable["name"]: variable["value"] for variable in CONTAINER["env"]}
    for name, value in values.items():
        assert name.removeprefix("BROKER_").removesuffix("_FILE").lower() in Settings.model_fields
        monkeypatch.setenv(name, value.replace("/run/secrets/broker", str(secrets)))
    settings = load_settings()
    assert settings.metrics_port in [port["containerPort"] for port in CONTAINER["ports"]]
    stop = settings.stop_delay + REQUEST_DRAIN_SECONDS + TASK_DRAIN_SECONDS
    assert stop < POD["spec"]["terminationGracePeriodSeconds"]


def test_probes_use_paths_of_the_api() -> None:
    paths = openapi_document()["paths"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[name]["httpGet"]["path"] in paths


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_selectors_match_the_replicas(kind: str) -> None:
    objects = objects_of_kind(kind)
    assert objects
    for manifest in objects:
        selector = manifest["spec"].get("selector") or manifest["spec"]["podSelector"]
        labels = selector.get("matchLabels", selector)
        assert labels.items() <= POD["metadata"]["labels"].items()


def test_the_autoscaler_keeps_at_least_two_replicas() -> None:
    [autoscaler] = objects_of_kind("HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == REPLICAS["metadata"]["name"]
    assert autoscaler["spec"]["minReplicas"] >= 2
    assert "replicas" not in REPLICAS["spec"]


def test_the_ingress_exposes_only_pages() -> None:
    [ingress] = objects_of_kind("Ingress")
    paths = {(path["path"], path["pathType"]) for path in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert paths == {("/connect", "Prefix"), ("/callback", "Exact"), ("/static", "Prefix")}


@pytest.mark.parametrize("workload", [REPLICAS, MIGRATION], ids=lambda workload: workload["kind"])
def test_containers_are_restricted(workload: dict[str, Any]) -> None:
    spec = workload["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("file", KUSTOMIZATIONS, ids=str)
def test_a_kustomization_lists_existing_files_and_all_in_its_directory(file: Path) -> None:
    kustomization = yaml.safe_load(file.read_text())
    names = [name for key in ("resources", "components") for name in kustomization.get(key, ())]
    listed = {(file.parent / name).resolve() for name in names}
    assert all(path.exists() for path in listed)
    siblings = {path.resolve() for path in file.parent.glob("*.yaml")} - {file.resolve()}
    assert siblings <= listed
