"""docker-compose.yml: what can be said of it without an engine, which `make containers` runs."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.runtime import ANSWER_SECONDS, DRAIN_SECONDS
from app.settings import Settings, load_settings

COMPOSE: dict[str, Any] = yaml.safe_load(Path("docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
REPLICAS = ("broker-1", "broker-2")


def filled_in(text: str) -> str:
    """Put the defaults in the place of variables, as Compose does."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.mark.parametrize("service", REPLICAS)
def test_the_settings_are_right(service: str, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BROKER_")]:
        monkeypatch.delenv(name)
    for name, value in SERVICES[service]["environment"].items():
        assert name.removeprefix("BROKER_").removesuffix("_FILE").lower() in Settings.model_fields
        monkeypatch.setenv(name, filled_in(str(value)).replace("/run/secrets", str(secrets)))
    settings = load_settings()
    assert settings.stitch_client_secret
    stop = settings.stop_delay + ANSWER_SECONDS + DRAIN_SECONDS
    assert stop < int(SERVICES[service]["stop_grace_period"].removesuffix("s"))


def test_every_secret_that_is_named_is_made(secrets: Path) -> None:
    named = {Path(filled_in(secret["file"])).name for secret in COMPOSE["secrets"].values()}
    assert named == {file.name for file in secrets.iterdir()}


def test_secrets_are_not_made_twice_and_kept_from_others(secrets: Path) -> None:
    before = {file.name: file.read_text() for file in secrets.iterdir()}
    subprocess.run(["deploy/secrets/generate", str(secrets)], check=True, capture_output=True)
    assert {file.name: file.read_text() for file in secrets.iterdir()} == before
    assert len(set(before.values())) == len(before)
    assert secrets.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_held(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_port_is_open_beyond_this_machine(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", [*REPLICAS, "migrate", "postgres"])
def test_nobody_reaches_the_replicas_past_the_gateway(name: str) -> None:
    assert "ports" not in SERVICES[name]
    assert "public" not in SERVICES[name]["networks"]
