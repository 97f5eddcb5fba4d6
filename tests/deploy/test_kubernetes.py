"""The manifests: what the schemas cannot tell, which `make check-kubernetes` holds against them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.main import create_api
from app.runtime import ANSWER_SECONDS, DRAIN_SECONDS
from app.settings import Settings, load_settings

DIRECTORY = Path("deploy/kubernetes")
KUSTOMIZATIONS = sorted(DIRECTORY.rglob("kustomization.yaml"))


def objects() -> Iterator[dict[str, Any]]:
    for directory in ("base", "migration", "production"):
        for file in sorted((DIRECTORY / directory).glob("*.yaml")):
            if file.name != "kustomization.yaml":
                yield from yaml.safe_load_all(file.read_text())


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in objects() if one["kind"] == kind]


[REPLICAS] = of_kind("StatefulSet")
[MIGRATION] = of_kind("Job")
POD = REPLICAS["spec"]["template"]
[CONTAINER] = POD["spec"]["containers"]


def test_the_settings_are_right(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BROKER_")]:
        monkeypatch.delenv(name)
    [generated] = yaml.safe_load((DIRECTORY / "production/kustomization.yaml").read_text())["configMapGenerator"]
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": generated["name"]}}]
    values = dict(literal.split("=", 1) for literal in generated["literals"])
    values |= {one["name"]: one["value"] for one in CONTAINER["env"]}
    for name, value in values.items():
        assert name.removeprefix("BROKER_").removesuffix("_FILE").lower() in Settings.model_fields
        monkeypatch.setenv(name, value.replace("/run/secrets/broker", str(secrets)))
    settings = load_settings()
    assert settings.metrics_port in [port["containerPort"] for port in CONTAINER["ports"]]
    stop = settings.stop_delay + ANSWER_SECONDS + DRAIN_SECONDS
    assert stop < POD["spec"]["terminationGracePeriodSeconds"]


def test_probes_ask_what_is_served() -> None:
    served = create_api().openapi()["paths"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[name]["httpGet"]["path"] in served


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_selectors_find_the_replicas(kind: str) -> None:
    found = of_kind(kind)
    assert found
    for one in found:
        selector = one["spec"].get("selector") or one["spec"]["podSelector"]
        wanted = selector.get("matchLabels", selector)
        assert wanted.items() <= POD["metadata"]["labels"].items()


def test_the_autoscaler_scales_the_replicas_and_leaves_none_alone() -> None:
    [autoscaler] = of_kind("HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == REPLICAS["metadata"]["name"]
    assert autoscaler["spec"]["minReplicas"] >= 2
    assert "replicas" not in REPLICAS["spec"]


def test_browsers_reach_pages_alone() -> None:
    [ingress] = of_kind("Ingress")
    paths = {(path["path"], path["pathType"]) for path in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert paths == {("/connect", "Prefix"), ("/callback", "Exact"), ("/static", "Prefix")}


@pytest.mark.parametrize("workload", [REPLICAS, MIGRATION], ids=lambda one: one["kind"])
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
def test_a_kustomization_names_what_there_is(file: Path) -> None:
    kustomization = yaml.safe_load(file.read_text())
    named = {(file.parent / one).resolve() for key in ("resources", "components") for one in kustomization.get(key, ())}
    assert all(one.exists() for one in named)
    beside = {one.resolve() for one in file.parent.glob("*.yaml")} - {file.resolve()}
    assert beside <= named
