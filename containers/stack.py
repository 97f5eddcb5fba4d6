"""docker-compose.yml, brought up beside whatever else runs on this machine, with secrets and ports of its own."""

import json
import os
import shutil
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.demo.expectations import Unexpected
from app.demo.ports import choose_ports
from app.demo.printing import Printer
from containers.docker import docker, run

ROOT = Path(__file__).parent.parent
BROKER_IMAGE = "stitch-token-broker:tried"
SANDBOX_IMAGE = "stitch-token-broker-sandbox:tried"
REPLICAS = ("broker-1", "broker-2")
_PROJECT = "broker-tried"
_AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"
_UP_SECONDS = 300


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

    def compose(self, *arguments: str, seconds: float = _UP_SECONDS) -> str:
        """Run `docker compose …`. Raises Unexpected where it fails."""
        file = str(ROOT / "docker-compose.yml")
        return docker(
            *("compose", "--ansi", "never", "--file", file, "--profile", "*", *arguments),
            seconds=seconds,
            environment=self._environment,
        )

    def execute(self, service: str, *command: str) -> str:
        """Run a command in a service's container. Raises Unexpected where it fails."""
        return self.compose("exec", "-T", service, *command)

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of a service's container."""
        [container] = json.loads(docker("inspect", self.container_of(service)))
        return dict(container)

    def container_of(self, service: str) -> str:
        """Return the id of a service's container. Raises Unexpected where there is none."""
        found = self.compose("ps", "--all", "--quiet", service).strip()
        if not found:
            raise Unexpected(f"a container of {service}", "none")
        return found

    def is_ready(self, service: str) -> bool:
        """Tell whether a replica says that it can serve."""
        asked = (
            "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=5); "
            "c.request('GET', '/readyz'); exit(c.getresponse().status != 200)"
        )
        try:
            self.execute(service, "python", "-c", asked)
        except Unexpected:
            return False
        return True

    def wait_until_ready(self, service: str, seconds: float = 60) -> None:
        """Return once a replica can serve. Raises Unexpected where it does not get so far."""
        deadline = time.monotonic() + seconds
        while not self.is_ready(service):
            if time.monotonic() > deadline:
                raise Unexpected(f"that {service} gets ready", f"nothing of it within {seconds:g} s")
            time.sleep(0.5)

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts the gateway's own authority, and no other."""
        file = self.secrets / "authority.crt"
        self.compose("cp", f"gateway:{_AUTHORITY}", str(file))
        return ssl.create_default_context(cafile=str(file))

    def logs(self, *options: str) -> str:
        """Return what all services have said."""
        return self.compose("logs", "--no-color", *options)

    def down(self) -> None:
        """Stop everything and leave nothing of it."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


@contextmanager
def open_stack(printer: Printer) -> Iterator[Stack]:
    """Make secrets for a stack that is not up yet, and take it down at the end."""
    secrets = Path(tempfile.mkdtemp(prefix="broker-containers-"))
    try:
        run([str(ROOT / "deploy" / "secrets" / "generate"), str(secrets)], seconds=30)
        for file in secrets.iterdir():
            printer.disguise.hide(file.read_text(encoding="utf-8").strip())
        stack = Stack(secrets)
        # What a run that was killed has left.
        stack.down()
        try:
            yield stack
        finally:
            stack.down()
            printer.line("Taken down.", "dim")
    finally:
        shutil.rmtree(secrets, ignore_errors=True)
