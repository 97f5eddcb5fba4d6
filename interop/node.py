"""Node: whether it is there, its packages, and servers written for it."""

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

HERE = Path(__file__).parent / "node"
_OLDEST = (20, 9)
_INSTALL_SECONDS = 300


class NodeMissing(Exception):
    """There is no Node that would do; the message says what to install."""


def require_node() -> str:
    """Return the version of Node. Raises NodeMissing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NodeMissing(
            "make interop needs Node 20.9 or newer with npm: install the package nodejs, or from nodejs.org"
        )
    version = subprocess.run(("node", "--version"), capture_output=True, text=True, check=True).stdout.strip()
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _OLDEST:
        raise NodeMissing(f"make interop needs Node 20.9 or newer, and this is {version}; install a newer one")
    return version


def install_packages() -> dict[str, str]:
    """Install what package-lock.json names, unless it is there, and return the versions of what is tested against.

    Raises NodeMissing with the end of what npm said where it cannot.
    """
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".installed"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        command = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            raise NodeMissing(f"npm could not install the packages of interop/node: {done.stderr[-500:]}")
        installed.write_bytes(lock.read_bytes())
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    packages = json.loads(lock.read_text())["packages"]
    return {name: packages[f"node_modules/{name}"]["version"] for name in wanted}


@asynccontextmanager
async def running_server(script: str, settings: Mapping[str, object], directory: Path) -> AsyncIterator[str]:
    """Run a server of interop/node for as long as the block, and give the address that it prints."""
    name = f"{Path(script).stem}-{settings['port']}"
    told, log = directory / f"{name}.json", directory / f"{name}.log"
    told.write_text(json.dumps(settings))
    child = await Child.start("node", str(HERE / script), str(told), environment={"NODE_ENV": "test"}, log=log)
    try:
        await until(f"{script} to listen", lambda: "listening on" in log.read_text() or not child.is_alive)
        found = re.search(r"listening on (http://\S+)", log.read_text())
        if found is None:
            raise RuntimeError(f"{script} did not start: {child.last_words(20)}")
        yield found[1]
    finally:
        await child.kill()


async def run_script(script: str, *arguments: str, seconds: float = 60) -> tuple[int, str]:
    """Run a script of interop/node to its end, and return its exit status and all that it said."""
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / script), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, said.decode()
