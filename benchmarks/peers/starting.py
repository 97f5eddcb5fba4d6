"""Starting the peers, those that this machine can run."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.demo.ports import HOST, choose_ports
from app.demo.processes import running

KEY = "a-key"
_HERE = Path(__file__).parent
# Where it stays, so that it is installed once.
_FASTIFY_HOME = Path(".data/benchmarks/fastify").resolve()


class Missing(Exception):
    """A peer cannot be run here; the message says what it needs."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy that runs."""

    name: str
    pid: int
    url: str
    authorization: str


@contextmanager
def fastify(upstream: str, home: Path) -> Iterator[Peer]:
    """Run Fastify's bare proxy. Raises Missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("Fastify needs Node.js 20 or newer with npm, which is not installed")
    _install_fastify(npm)
    with _run("fastify", [node, str(_FASTIFY_HOME / "server.cjs")], upstream, home) as peer:
        yield peer


@contextmanager
def naive(upstream: str, home: Path) -> Iterator[Peer]:
    """Run FastAPI with httpx."""
    port = _free_port()
    arguments = [
        *(sys.executable, "-m", "uvicorn", "benchmarks.peers.naive:app", "--port", str(port)),
        *("--no-access-log", "--log-level", "warning"),
    ]
    with _run("naive", arguments, upstream, home, port) as peer:
        yield peer


@contextmanager
def nginx(upstream: str, home: Path) -> Iterator[Peer]:
    """Run nginx, where it is installed. Raises Missing."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise Missing("nginx is not installed")
    port = _free_port()
    text = (_HERE / "nginx.conf").read_text(encoding="utf-8")
    for word, value in (("HOME", str(home)), ("UPSTREAM", upstream.removeprefix("http://")), ("PORT", str(port))):
        text = text.replace(word, value)
    configuration = home / "nginx.conf"
    configuration.write_text(text, encoding="utf-8")
    with _run("nginx", [program, "-c", str(configuration)], upstream, home, port) as peer:
        yield peer


@contextmanager
def _run(name: str, arguments: list[str], upstream: str, home: Path, port: int | None = None) -> Iterator[Peer]:
    port = port or _free_port()
    environment = os.environ | {"PEER_PORT": str(port), "PEER_UPSTREAM": upstream, "PEER_KEY": KEY}
    with running(name, arguments, environment, home / f"{name}.log") as child:
        child.wait_until(lambda: _is_open(port), expected=f"that {name} listens")
        yield Peer(name, child.pid, f"http://127.0.0.1:{port}/graphql", f"Bearer {KEY}")


def _install_fastify(npm: str) -> None:
    _FASTIFY_HOME.mkdir(parents=True, exist_ok=True)
    is_installed = (_FASTIFY_HOME / "node_modules").is_dir()
    for name in ("package.json", "package-lock.json", "server.cjs"):
        wanted, found = _HERE / "fastify" / name, _FASTIFY_HOME / name
        is_installed &= found.is_file() and found.read_bytes() == wanted.read_bytes()
        shutil.copyfile(wanted, found)
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


def _free_port() -> int:
    return choose_ports([0])[0][0]
