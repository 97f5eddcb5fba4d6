"""Runs the `docker` command and other programs."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from app.demo.expectations import Unexpected

_MAX_OUTPUT_LINES = 15


def docker(*arguments: str, timeout_seconds: float = 120, environment: Mapping[str, str] | None = None) -> str:
    """Run `docker …` and return its standard output. Raises Unexpected if it fails or takes too long."""
    return run(["docker", *arguments], timeout_seconds=timeout_seconds, environment=environment)


def run(command: Sequence[str], *, timeout_seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a program and return its standard output. Raises Unexpected if it fails or takes too long."""
    shortened = " ".join(command[:3])
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C then reaches only this program, which removes everything before it exits.
            start_new_session=True,
        )
    except OSError as error:
        raise Unexpected(f"the program {command[0]}", str(error.strerror)) from None
    with process:
        try:
            output, errors = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise Unexpected(f"that `{shortened} …` ends", f"no end within {timeout_seconds:g} s") from None
        except BaseException:
            _kill(process)
            raise
    if process.returncode:
        last_lines = "\n".join((output + errors).strip().splitlines()[-_MAX_OUTPUT_LINES:])
        raise Unexpected(f"exit status 0 of `{shortened} …`", f"{process.returncode}: {last_lines}")
    return output


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a program and its children: `docker compose` is a child of `docker` and would otherwise continue."""
    os.killpg(process.pid, signal.SIGKILL)
