"""The container engine and the public images that everything stands on."""

from pathlib import Path

from app.demo.expectations import Unexpected
from app.demo.printing import Printer, Step
from containers.docker import docker, run

BASE = "python:3.13-slim"
# What the Dockerfile and docker-compose.yml name; Grafana is not tried here.
PUBLIC_IMAGES = (BASE, "postgres:17", "caddy:2", "prom/prometheus:latest")
_MISSING = "a container engine: install Docker Engine with its Compose plugin, https://docs.docker.com/engine/install/"
_PULL_SECONDS = 600
_PREPARE_SECONDS = 1_800


def require_engine(printer: Printer, prepare: Path | None) -> None:
    """Find an engine with the public images. `prepare` is a program that provides both, where they cannot be had."""
    with printer.step("Find a container engine, and the public images") as step:
        obstacle = _obstacle()
        if obstacle is not None:
            if prepare is None or not prepare.exists():
                raise obstacle
            step.note(f"not to be had: {obstacle.came}")
            step.sent(str(prepare))
            run([str(prepare)], seconds=_PREPARE_SECONDS)
            if (obstacle := _obstacle()) is not None:
                raise obstacle
        _show(step)


def _obstacle() -> Unexpected | None:
    """Return what is missing, if anything is."""
    try:
        docker("version", "--format", "{{.Server.Version}}")
        docker("compose", "version")
    except Unexpected as error:
        return Unexpected(_MISSING, error.came)
    for image in PUBLIC_IMAGES:
        try:
            docker("image", "inspect", image)
        except Unexpected:
            try:
                docker("pull", "--quiet", image, seconds=_PULL_SECONDS)
            except Unexpected as error:
                return error
    return None


def _show(step: Step) -> None:
    step.came(f"Docker Engine {docker('version', '--format', '{{.Server.Version}}').strip()}")
    step.note(docker("compose", "version").strip())
