"""The demo's child processes: started apart from the terminal, logged to files, stopped for certain."""

import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.demo.expectations import Unexpected

_STOP_SECONDS = 10
_COMMAND_SECONDS = 120
_TAIL_LINES = 15


class Child:
    """A process that runs until it is stopped."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def wait_until(self, is_so: Callable[[], bool], *, expected: str, seconds: float = 60) -> None:
        """Return as soon as `is_so` says yes. Raises Unexpected where the process ends or the time runs out."""
        deadline = time.monotonic() + seconds
        while not is_so():
            self.require_running()
            if time.monotonic() > deadline:
                raise Unexpected(expected, f"nothing of it within {seconds:g} s")
            time.sleep(0.03)

    def require_running(self) -> None:
        """Raise Unexpected where the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise Unexpected(f"that {self.name} keeps running", f"its end, with exit status {status}")

    def log_lines(self) -> list[str]:
        """Return what the process has said so far."""
        return tail(self._log, None)

    def stop(self) -> None:
        """Ask the process to end, and make it."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(name: str, arguments: Sequence[str], environment: Mapping[str, str] | None, log: Path) -> Iterator[Child]:
    """Run a process for as long as the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a program of this environment, without a shell
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C at the terminal is for the demo alone, which stops the others in order.
            start_new_session=True,
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop()


def broker_command(*arguments: str) -> list[str]:
    """Return a `broker …` of this environment."""
    return [str(Path(sysconfig.get_path("scripts")) / "broker"), *arguments]


def run_broker(*arguments: str, environment: Mapping[str, str]) -> str:
    """Run a `broker …` to its end and return what it printed. Raises Unexpected where it fails."""
    try:
        finished = subprocess.run(  # noqa: S603 - a program of this environment, without a shell
            broker_command(*arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_COMMAND_SECONDS,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unexpected("that the command ends", f"no end within {_COMMAND_SECONDS} s") from None
    if finished.returncode:
        raise Unexpected("exit status 0", f"{finished.returncode}: {finished.stderr.strip()}")
    return finished.stdout.strip()


def tail(log: Path, lines: int | None = _TAIL_LINES) -> list[str]:
    """Return the last lines of a log, or all; none where there is no log to be read."""
    try:
        found = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return found if lines is None else found[-lines:]
