"""The demo's child processes: detached from the terminal, logged to files, and always stopped."""

import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.demo.expectations import Unexpected

_STOP_SECONDS = 10
_COMMAND_SECONDS = 120
_POLL_SECONDS = 0.03
_TAIL_LINES = 15


class ChildProcess:
    """A process that runs until it is stopped."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until(self, condition: Callable[[], bool], *, expected: str, seconds: float = 60) -> None:
        """Return as soon as `condition` is true. Raises Unexpected if the process ends or the time is up."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.require_running()
            if time.monotonic() > deadline:
                raise Unexpected(expected, f"nothing within {seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def require_running(self) -> None:
        """Raise Unexpected if the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise Unexpected(f"{self.name} to keep running", f"exit status {status}")

    def log_lines(self) -> list[str]:
        """Return everything that the process has printed."""
        return tail(self._log, None)

    def stop(self) -> None:
        """Stop the process, and kill it if it does not stop."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(
    name: str, arguments: Sequence[str], environment: Mapping[str, str] | None, log: Path
) -> Iterator[ChildProcess]:
    """Run a process until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a program of this environment, without a shell
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is meant for the demo, which stops the others in order.
            start_new_session=True,
        )
    child = ChildProcess(name, process, log)
    try:
        yield child
    finally:
        child.stop()


def broker_command(*arguments: str) -> list[str]:
    """Return the command line of `broker` in this environment."""
    return [str(Path(sysconfig.get_path("scripts")) / "broker"), *arguments]


def run_broker(*arguments: str, environment: Mapping[str, str]) -> str:
    """Run a `broker` command, and return what it printed. Raises Unexpected if it fails."""
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
        raise Unexpected("the command to end", f"no end within {_COMMAND_SECONDS} s") from None
    if finished.returncode:
        raise Unexpected("exit status 0", f"{finished.returncode}: {finished.stderr.strip()}")
    return finished.stdout.strip()


def tail(log: Path, lines: int | None = _TAIL_LINES) -> list[str]:
    """Return the last lines of a log, or all lines. Returns none if the log cannot be read."""
    try:
        all_lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return all_lines if lines is None else all_lines[-lines:]
