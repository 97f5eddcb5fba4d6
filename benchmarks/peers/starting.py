"""Starts the other proxies that this machine can run."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.demo.ports import HOST
from app.demo.processes import running
from interop.ports import free_port

KEY = "a-key"
_HERE = Path(__file__).parent
# Outside of the run's directory, so that it is only installed once.
_FASTIFY_HOME = Path(".data/benchmarks/fastify").resolve()


class Missing(Exception):
    """A proxy cannot run on this machine. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running proxy."""

    name: str
    pid: int
    url: str
    authorization: str


@contextmanager
def fastify(upstream: str, home: Path) -> Iterator[Peer]:
    """Run Fastify's proxy without anything else. Raises Missing if it cannot be installed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("Fastify needs Node.js 20 or newer with npm, which is not installed")
    _install_fastify(npm)
    with _run("fastify", [node, str(_FASTIFY_HOME / "server.cjs")], upstream, home) as peer:
        yield peer


@contextmanager
def naive(upstream: str, home: Path) -> Iterator[Peer]:
    """Run FastAPI with httpx."""
    port = free_port()
    arguments = [
        *(sys.executable, "-m", "uvicorn", "benchmarks.peers.naive:app", "--port", str(port)),
        *("--no-access-log", "--log-level", "warning"),
    ]
    with _run("naive", arguments, upstream, home, port) as peer:
        yield peer


@contextmanager
def nginx(upstream: str, home: Path) -> Iterator[Peer]:
    """Run nginx. Raises Missing if it is not installed."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise Missing("nginx is not installed")
    port = free_port()
    text = (_HERE / "nginx.conf").read_text(encoding="utf-8")
    for word, value in (("HOME", str(home)), ("UPSTREAM", upstream.removeprefix("http://")), ("PORT", str(port))):
        text = text.replace(word, value)
    configuration = home / "nginx.conf"
    configuration.write_text(text, encoding="utf-8")
    with _run("nginx", [program, "-c", str(configuration)], upstream, home, port) as peer:
        yield peer


@contextmanager
def _run(name: str, arguments: list[str], upstream: str, home: Path, port: int | None = None) -> Iterator[Peer]:
    port = port or free_port()
    environment = os.environ | {"PEER_PORT": str(port), "PEER_UPSTREAM": upstream, "PEER_KEY": KEY}
    with running(name, arguments, environment, home / f"{name}.log") as child:
        child.wait_until(lambda: _is_open(port), expected=f"that {name} listens")
        yield Peer(name, child.pid, f"http://127.0.0.1:{port}/graphql", f"Bearer {KEY}")


def _install_fastify(npm: str) -> None:
    _FASTIFY_HOME.mkdir(parents=True, exist_ok=True)
    is_installed = (_FASTIFY_HOME / "node_modules").is_dir()
    for name in ("package.json", "package-lock.json", "server.cjs"):
        source, copy = _HERE / "fastify" / name, _FASTIFY_HOME / name
        is_installed &= copy.is_file() and copy.read_bytes() == source.read_bytes()
        shutil.copyfile(source, copy)
    if is_installed:
        return
    command = [npm, "ci", "--silent", "--no-audit", "--no-fund"]
    finished = subprocess.run(command, cwd=_FASTIFY_HOME, capture_output=True, text=True, check=False)
    if finished.returncode:
        shutil.rmtree(_FASTIFY_HOME / "node_modules", ignore_errors=True)
        raise Missing(f"Fastify could not be installed by npm: {finished.stderr.strip()[-300:]}")


def _is_open(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
