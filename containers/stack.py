"""Runs docker-compose.yml with its own project name, secrets and ports, next to other containers on this machine."""

import json
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.demo.expectations import Unexpected
from app.demo.ports import choose_ports
from app.demo.printing import Printer
from containers.docker import docker, run
from containers.waiting import wait_until

ROOT = Path(__file__).parent.parent
BROKER_IMAGE = "stitch-token-broker:test"
SANDBOX_IMAGE = "stitch-token-broker-sandbox:test"
REPLICAS = ("broker-1", "broker-2")
_PROJECT = "broker-test"
_ROOT_CERTIFICATE = "/data/caddy/pki/authorities/local/root.crt"
_COMPOSE_TIMEOUT_SECONDS = 300
_PROBE_READINESS = (
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=5); "
    "c.request('GET', '/readyz'); exit(c.getresponse().status != 200)"
)


class Stack:
    """The services of docker-compose.yml."""

    def __init__(self, secrets: Path) -> None:
        self.secrets = secrets
        public, internal, bank, prometheus = (port for port, _ in choose_ports((8443, 8444, 9000, 9090)))
        self.public_url = f"https://broker.localhost:{public}"
        self.internal_url = f"https://api.broker.localhost:{internal}"
        self.bank_url = f"http://bank.localhost:{bank}"
        self.prometheus_url = f"http://127.0.0.1:{prometheus}"
        self._environment = os.environ | {
            "COMPOSE_PROJECT_NAME": _PROJECT,
            "BROKER_IMAGE": BROKER_IMAGE,
            "SANDBOX_IMAGE": SANDBOX_IMAGE,
            "SECRETS_DIR": str(secrets),
            "PUBLIC_PORT": str(public),
            "INTERNAL_PORT": str(internal),
            "BANK_PORT": str(bank),
            "PROMETHEUS_PORT": str(prometheus),
        }

    def compose(self, *arguments: str) -> str:
        """Run `docker compose …` and return its output. Raises Unexpected if it fails."""
        file = str(ROOT / "docker-compose.yml")
        return docker(
            *("compose", "--ansi", "never", "--file", file, "--profile", "*", *arguments),
            timeout_seconds=_COMPOSE_TIMEOUT_SECONDS,
            environment=self._environment,
        )

    def execute(self, service: str, *command: str) -> str:
        """Run a command in a service's container and return its output. Raises Unexpected if it fails."""
        return self.compose("exec", "-T", service, *command)

    def inspect(self, service: str) -> dict[str, Any]:
        """Return the engine's description of a service's container."""
        [container] = json.loads(docker("inspect", self.container_id(service)))
        return dict(container)

    def container_id(self, service: str) -> str:
        """Return the id of a service's container. Raises Unexpected if there is none."""
        container_id = self.compose("ps", "--all", "--quiet", service).strip()
        if not container_id:
            raise Unexpected(f"a container of {service}", "none")
        return container_id

    def is_ready(self, service: str) -> bool:
        """Return whether a replica reports that it is ready."""
        try:
            self.execute(service, "python", "-c", _PROBE_READINESS)
        except Unexpected:
            return False
        return True

    def wait_until_ready(self, service: str) -> None:
        """Return once a replica is ready. Raises Unexpected after a timeout."""
        wait_until(lambda: self.is_ready(service), f"{service} becomes ready")

    def gateway_ssl_context(self) -> ssl.SSLContext:
        """Return a context that trusts only the gateway's own certificate authority."""
        file = self.secrets / "authority.crt"
        self.compose("cp", f"gateway:{_ROOT_CERTIFICATE}", str(file))
        return ssl.create_default_context(cafile=str(file))

    def logs(self, *options: str) -> str:
        """Return the logs of all services."""
        return self.compose("logs", "--no-color", *options)

    def down(self) -> None:
        """Stop all services, and remove their containers, networks and volumes."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


@contextmanager
def open_stack(printer: Printer) -> Iterator[Stack]:
    """Generate secrets and yield a stack that is not started yet; remove the stack at the end."""
    secrets = Path(tempfile.mkdtemp(prefix="broker-containers-"))
    try:
        run([str(ROOT / "deploy" / "secrets" / "generate"), str(secrets)], timeout_seconds=30)
        for file in secrets.iterdir():
            printer.redactor.add_secret(file.read_text(encoding="utf-8").strip())
        stack = Stack(secrets)
        # Remove what a killed run left behind.
        stack.down()
        try:
            yield stack
        finally:
            stack.down()
            printer.line("All containers are removed.", "dim")
    finally:
        shutil.rmtree(secrets, ignore_errors=True)
