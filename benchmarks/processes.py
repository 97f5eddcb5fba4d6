"""Reads the CPU time and memory of a process and its descendants from Linux's /proc."""

import os
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """Return the user and system CPU time of a process and its running descendants."""
    return sum(cpu_by_process(pid).values())


def cpu_by_process(pid: int) -> dict[int, float]:
    """Return the CPU seconds of a process and of each of its descendants, by process id."""
    return {process: _own_cpu_seconds(process) for process in _tree(pid)}


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants."""
    return sum(_status(process, "VmRSS") for process in _tree(pid))


def reset_peak(pid: int) -> None:
    """Reset the kernel's record of the peak resident memory."""
    (_PROC / str(pid) / "clear_refs").write_text("5", encoding="ascii")


def peak_resident_bytes(pid: int) -> int:
    """Return the peak resident memory of one process since `reset_peak`."""
    return _status(pid, "VmHWM")


def _tree(pid: int) -> list[int]:
    pids = [pid]
    # The list grows during the loop.
    for parent in pids:
        for children in (_PROC / str(parent) / "task").glob("*/children"):
            pids += map(int, children.read_text(encoding="ascii").split())
    return pids


def _own_cpu_seconds(pid: int) -> float:
    # The second field is the name, in brackets, which may contain spaces.
    fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / _TICKS_PER_SECOND


def _status(pid: int, name: str) -> int:
    for line in (_PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc has no {name}")
