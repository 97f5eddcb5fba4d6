"""Describes the machine on which the figures were measured."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("uvicorn", "uvloop", "httptools", "fastapi", "httpx")


def describe_machine() -> Iterator[str]:
    """Yield one line for each property that affects the figures."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield f"{os.cpu_count()} cores of {_processor()}, {memory:.0f} GiB, load average {os.getloadavg()[0]:.1f}"
    yield f"{platform.system()} {platform.release()}, Python {platform.python_version()}, Node {_node() or 'absent'}"
    yield ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _node() -> str | None:
    path = shutil.which("node")
    if path is None:
        return None
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
