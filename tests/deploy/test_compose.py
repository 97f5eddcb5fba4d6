"""Checks of docker-compose.yml that need no container engine; `make containers` runs the others."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.concurrency.shutdown import REQUEST_DRAIN_SECONDS, TASK_DRAIN_SECONDS
from app.settings import Settings, load_settings

COMPOSE: dict[str, Any] = yaml.safe_load(Path("docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
REPLICAS = ("broker-1", "broker-2")


def with_defaults(text: str) -> str:
    """Replace each variable by its default, as Compose does."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.mark.parametrize("service", REPLICAS)
def test_the_broker_accepts_the_settings(service: str, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BROKER_")]:
        monkeypatch.delenv(name)
    for name, value in SERVICES[service]["environment"].items():
        assert name.removeprefix("BROKER_").removesuffix("_FILE").lower() in Settings.model_fields
        monkeypatch.setenv(name, with_defaults(str(value)).replace("/run/secrets", str(secrets)))
    settings = load_settings()
    assert settings.stitch_client_secret
    stop = settings.stop_delay + REQUEST_DRAIN_SECONDS + TASK_DRAIN_SECONDS
    assert stop < int(SERVICES[service]["stop_grace_period"].removesuffix("s"))


def test_every_referenced_secret_is_generated(secrets: Path) -> None:
    referenced = {Path(with_defaults(secret["file"])).name for secret in COMPOSE["secrets"].values()}
    assert referenced == {file.name for file in secrets.iterdir()}


def test_generated_secrets_are_kept_distinct_and_private(secrets: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir()}
    subprocess.run(["deploy/secrets/generate", str(secrets)], check=True, capture_output=True)
    assert {file.name: file.read_text() for file in secrets.iterdir()} == before
    assert len(set(before.values())) == len(before)
    assert secrets.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_restricted(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", [*REPLICAS, "migrate", "postgres"])
def test_the_replicas_are_reachable_only_through_the_gateway(name: str) -> None:
    assert "ports" not in SERVICES[name]
    assert "public" not in SERVICES[name]["networks"]
