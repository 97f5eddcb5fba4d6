"""Node: checks its version, installs the packages, and runs scripts and servers."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from chaos.processes import Child
from chaos.waiting import until

NODE_DIRECTORY = Path(__file__).parent / "node"
_MIN_VERSION = (20, 9)
_INSTALL_TIMEOUT_SECONDS = 300


class NodeUnavailable(Exception):
    """No suitable Node is installed, or npm failed; the message says what to do."""


def require_node() -> str:
    """Return the version of Node. Raises NodeUnavailable if it is missing or too old."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NodeUnavailable(
            "make interop needs Node 20.9 or newer with npm: install the package nodejs, or get it from nodejs.org"
        )
    version = subprocess.run(("node", "--version"), capture_output=True, text=True, check=True).stdout.strip()
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _MIN_VERSION:
        raise NodeUnavailable(f"make interop needs Node 20.9 or newer, but this is {version}; install a newer one")
    return version


def install_packages() -> dict[str, str]:
    """Install the packages of package-lock.json unless they are installed, and return the versions of the direct ones.

    Raises NodeUnavailable, with the end of npm's output, if npm fails.
    """
    lock, installed = NODE_DIRECTORY / "package-lock.json", NODE_DIRECTORY / "node_modules" / ".installed"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        npm = subprocess.run(
            ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"),
            cwd=NODE_DIRECTORY,
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIMEOUT_SECONDS,
            check=False,
        )
        if npm.returncode != 0:
            raise NodeUnavailable(f"npm could not install the packages of interop/node: {npm.stderr[-500:]}")
        installed.write_bytes(lock.read_bytes())
    dependencies = json.loads((NODE_DIRECTORY / "package.json").read_text())["dependencies"]
    packages = json.loads(lock.read_text())["packages"]
    return {name: packages[f"node_modules/{name}"]["version"] for name in dependencies}


@asynccontextmanager
async def running_server(script: str, settings: Mapping[str, object], directory: Path) -> AsyncIterator[str]:
    """Run a server of interop/node for the duration of the block, and yield the URL that it prints."""
    name = f"{Path(script).stem}-{settings['port']}"
    settings_file, log = directory / f"{name}.json", directory / f"{name}.log"
    settings_file.write_text(json.dumps(settings))
    path = str(NODE_DIRECTORY / script)
    child = await Child.start("node", path, str(settings_file), environment={"NODE_ENV": "test"}, log=log)
    try:
        await until(f"{script} to listen", lambda: "listening on" in log.read_text() or not child.is_alive)
        match = re.search(r"listening on (http://\S+)", log.read_text())
        if match is None:
            raise RuntimeError(f"{script} did not start: {child.last_output(20)}")
        yield match[1]
    finally:
        await child.kill()


async def run_script(script: str, *arguments: str, timeout_seconds: float = 60) -> tuple[int, str]:
    """Run a script of interop/node, and return its exit status and its output. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(NODE_DIRECTORY / script), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, output.decode()
