"""Runs the code of one page in one language, block by block. Each block sees what the earlier ones have defined."""

import asyncio
import contextlib
import io
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from tests.docs.pages import Block

_BLOCK_TIMEOUT = 60  # seconds
_END = "--- end of block"
_SHELL = f"""
set -o pipefail
# An error response fails the block, unless the page expects one. Then a successful response fails the block.
curl() {{
  if [ -z "$REFUSED" ]; then command curl --fail-with-body "$@"
  elif command curl --fail-with-body "$@"; then return 1
  else [ $? = 22 ]
  fi
}}
broker() {{ command "{Path(sys.executable).parent}/broker" "$@"; }}
"""


class Language(Protocol):
    """Runs blocks."""

    async def run(self, block: Block, code: str, *, refused: bool) -> str:
        """Run `code`, which is the code of `block` with the values of this run, and return its output.

        `refused` means that the page expects an error response. Raises Failed.
        """
        ...


class Failed(AssertionError):
    """A block failed."""

    def __init__(self, block: Block, output: str) -> None:
        super().__init__(f"{block} failed:\n{block.code}\n\n{output}")


class Python:
    """Runs Python in one namespace per page, in a thread, because the code is synchronous or starts an event loop."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {"__name__": "__page__"}

    async def run(self, block: Block, code: str, *, refused: bool) -> str:
        """Run a block."""
        # Keeps the line numbers of the page, for tracebacks.
        program = compile("\n" * block.line + code, block.page, "exec")
        output = io.StringIO()

        def run() -> None:
            with contextlib.redirect_stdout(output):
                exec(program, self._names)

        await asyncio.wait_for(asyncio.to_thread(run), _BLOCK_TIMEOUT)
        return output.getvalue()


class Sql:
    """Runs the SQL statements of an operator."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    async def run(self, block: Block, code: str, *, refused: bool) -> str:
        """Run a block."""
        connection = await asyncpg.connect(self._database_url)
        try:
            return str(await connection.execute(code, timeout=_BLOCK_TIMEOUT))
        finally:
            await connection.close()


class Shell:
    """Runs blocks in one process per page, which prints a marker after each block."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self._process = process
        self._directory = directory

    async def run(self, block: Block, code: str, *, refused: bool) -> str:
        """Run a block."""
        script = self._directory / "block.sh"
        script.write_text(f"set -e\n{code}\n")
        expected = "1" if refused else ""
        return await self._execute(block, f"REFUSED={expected} . {script}; set +e; printf '\\n{_END}\\n'\n")

    async def _execute(self, block: Block, command: str) -> str:
        """Send a command to the process, and return its output. Raises Failed if the process ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command.encode())
        await self._process.stdin.drain()
        lines: list[str] = []
        async with asyncio.timeout(_BLOCK_TIMEOUT):
            while line := (await self._process.stdout.readline()).decode():
                if line.strip() == _END:
                    return "".join(lines)
                lines.append(line)
        raise Failed(block, f"{''.join(lines)}\n(exit status {await self._process.wait()})")


class JavaScript(Shell):
    """Runs blocks in one Node process per page, which reads file names."""

    async def run(self, block: Block, code: str, *, refused: bool) -> str:
        """Run a block."""
        script = self._directory / "block.js"
        script.write_text(code)
        return await self._execute(block, f"{script}\n")


@asynccontextmanager
async def shell(directory: Path, environment: dict[str, str]) -> AsyncIterator[Shell]:
    """Start a shell for a page."""
    (directory / "rc").write_text(_SHELL)
    # Bash reads this file if it is not interactive.
    environment = environment | {"BASH_ENV": str(directory / "rc")}
    async with _process("bash", "--noprofile", directory=directory, environment=environment) as process:
        yield Shell(process, directory)


@asynccontextmanager
async def javascript(directory: Path) -> AsyncIterator[JavaScript]:
    """Start Node for a page."""
    async with _process("node", str(Path(__file__).with_name("node.mjs")), directory=directory) as process:
        yield JavaScript(process, directory)


@asynccontextmanager
async def _process(
    *command: str, directory: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=os.environ | (environment or {}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
