"""Child processes whose output is written to a file."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

_TERMINATION_TIMEOUT = 60.0  # seconds


class Child:
    """A process in its own session, so that Ctrl-C only reaches the parent, which cleans up."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @classmethod
    async def start(cls, *command: str, environment: Mapping[str, str], log: Path) -> "Child":
        """Start `command`, and append its output to `log`."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(process, log)

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end of the process."""
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def terminate(self, timeout_seconds: float = _TERMINATION_TIMEOUT) -> int:
        """Send SIGTERM and return the exit status. Raises TimeoutError if the process does not end in time."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(timeout_seconds):
            return await self._process.wait()

    def last_output(self, lines: int = 5) -> str:
        """Return the last lines of the output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
