"""Child processes that live no longer than whoever started them, and whose output goes to a file."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

_PATIENCE = 60.0


class Child:
    """One process in a session of its own, so that Ctrl-C reaches only the one who cleans up."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @classmethod
    async def start(cls, *command: str, environment: Mapping[str, str], log: Path) -> "Child":
        """Start `command`; what it says is appended to `log`."""
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
        """Whether it still runs."""
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if there is still somebody to receive it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def terminate(self, patience: float = _PATIENCE) -> int:
        """SIGTERM, and wait until it has ended by itself. Raises TimeoutError."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(patience):
            return await self._process.wait()

    def last_words(self, lines: int = 5) -> str:
        """Return the end of what it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
