"""Prints one line for each step, and a summary."""

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CheckFailed(Exception):
    """A check failed; the message says what was found."""


class Report:
    """Prints each step as it ends, and collects the failures."""

    def __init__(self) -> None:
        self.steps = 0
        self.failures: list[str] = []
        self._section = ""

    def print(self, line: str) -> None:
        """Print a line immediately."""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Print a title for the steps of the block. A failed step ends the block, but not the run."""
        self._section = title
        self.print(f"\n{title}")
        try:
            yield
        except CheckFailed:
            pass
        except Exception as error:  # noqa: BLE001 - any error fails this section only; the others still run
            self._fail("outside the steps", error)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print whether the block succeeded. Raises CheckFailed if it did not."""
        self.steps += 1
        started = time.monotonic()
        try:
            yield
        except Exception as error:
            self._fail(title, error)
            raise CheckFailed(title) from error
        self.print(f"  ok    {title} ({time.monotonic() - started:.1f} s)")

    def _fail(self, title: str, error: Exception) -> None:
        self.failures.append(f"{self._section}: {title}")
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        location = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        self.print(f"  FAIL  {title}: {type(error).__name__}: {error}{location}")

    def print_summary(self) -> bool:
        """Print the summary, and return whether all steps passed."""
        if self.failures:
            self.print(f"\n{len(self.failures)} of {self.steps} steps FAILED:")
            for failure in self.failures:
                self.print(f"  {failure}")
            return False
        self.print(f"\nall {self.steps} steps passed")
        return True


def expect(condition: bool, message: str) -> None:
    """Raise CheckFailed unless the condition is true; `message` says what was found."""
    if not condition:
        raise CheckFailed(message)
