"""Calls of the `docker` command."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from app.demo.expectations import Unexpected

_SAID_LINES = 15


def docker(*arguments: str, seconds: float = 120, environment: Mapping[str, str] | None = None) -> str:
    """Run `docker …` to its end and return what it printed. Raises Unexpected where it fails."""
    return run(["docker", *arguments], seconds=seconds, environment=environment)


def run(command: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed. Raises Unexpected where it fails."""
    shown = " ".join(command[:3])
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C is for this program alone, which then takes everything down.
            start_new_session=True,
        )
    except OSError as error:
        raise Unexpected(f"the program {command[0]}", str(error.strerror)) from None
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise Unexpected(f"that `{shown} …` ends", f"no end within {seconds:g} s") from None
        except BaseException:
            _kill(process)
            raise
    if process.returncode:
        said = "\n".join((out + err).strip().splitlines()[-_SAID_LINES:])
        raise Unexpected(f"exit status 0 of `{shown} …`", f"{process.returncode}: {said}")
    return out


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a program and its children: `docker compose` is one of `docker`, and would go on."""
    os.killpg(process.pid, signal.SIGKILL)
