"""What processes have used: CPU time and memory, of a process and all that it started, as Linux tells it."""

import os
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, in user mode and in the kernel, of a process and of all that it started and that runs."""
    return sum(cpu_by_process(pid).values())


def cpu_by_process(pid: int) -> dict[int, float]:
    """Return the CPU seconds of each process of a tree."""
    return {one: _own_cpu_seconds(one) for one in _tree(pid)}


def resident_bytes(pid: int) -> int:
    """Return how much memory of a tree of processes is resident."""
    return sum(_status(one, "VmRSS") for one in _tree(pid))


def forget_peak(pid: int) -> None:
    """Have the kernel measure the peak of resident memory anew."""
    (_PROC / str(pid) / "clear_refs").write_text("5", encoding="ascii")


def peak_resident_bytes(pid: int) -> int:
    """Return the most memory of one process that was resident since `forget_peak`."""
    return _status(pid, "VmHWM")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for children in (_PROC / str(one) / "task").glob("*/children"):
            found += map(int, children.read_text(encoding="ascii").split())
    return found


def _own_cpu_seconds(pid: int) -> float:
    # The second field is the name, which may have spaces; the fields after it are plain.
    fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / _TICKS_A_SECOND


def _status(pid: int, name: str) -> int:
    for line in (_PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel tells no {name}")
