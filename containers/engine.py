"""The container engine and the public base images."""

from pathlib import Path

from app.demo.expectations import Unexpected
from app.demo.printing import Printer, Step
from containers.docker import docker, run

BASE_IMAGE = "python:3.13-slim"
# The images named in the Dockerfile and docker-compose.yml, except Grafana, which is not tested.
PUBLIC_IMAGES = (BASE_IMAGE, "postgres:17", "caddy:2", "prom/prometheus:latest")
_MISSING = "a container engine: install Docker Engine with its Compose plugin, https://docs.docker.com/engine/install/"
_PULL_TIMEOUT_SECONDS = 600
_PREPARE_TIMEOUT_SECONDS = 1_800


def require_engine(printer: Printer, prepare: Path | None) -> None:
    """Check that there are an engine and the public images. If not, run `prepare`, a program that provides them."""
    with printer.step("Find a container engine and the public images") as step:
        problem = _find_problem()
        if problem is not None:
            if prepare is None or not prepare.exists():
                raise problem
            step.note(f"not available: {problem.actual}")
            step.sent(str(prepare))
            run([str(prepare)], timeout_seconds=_PREPARE_TIMEOUT_SECONDS)
            if (problem := _find_problem()) is not None:
                raise problem
        _show_versions(step)


def _find_problem() -> Unexpected | None:
    """Return what is missing, or None."""
    try:
        docker("version", "--format", "{{.Server.Version}}")
        docker("compose", "version")
    except Unexpected as error:
        return Unexpected(_MISSING, error.actual)
    for image in PUBLIC_IMAGES:
        try:
            docker("image", "inspect", image)
        except Unexpected:
            try:
                docker("pull", "--quiet", image, timeout_seconds=_PULL_TIMEOUT_SECONDS)
            except Unexpected as error:
                return error
    return None


def _show_versions(step: Step) -> None:
    step.received(f"Docker Engine {docker('version', '--format', '{{.Server.Version}}').strip()}")
    step.note(docker("compose", "version").strip())
