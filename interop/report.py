"""What is printed: one line for each step, and a verdict."""

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Failed(Exception):
    """Something was not as it must be."""


class Report:
    """Prints steps as they end, and counts those that did not hold."""

    def __init__(self) -> None:
        self.steps = 0
        self.failures: list[str] = []
        self._chapter = ""

    def say(self, line: str) -> None:
        """Print a line at once."""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """Give the steps of the block a title. A step that fails ends the block, and not the run."""
        self._chapter = title
        self.say(f"\n{title}")
        try:
            yield
        except Failed:
            pass
        except Exception as error:  # noqa: BLE001 - whatever happens is a verdict on this chapter, and the others count
            self._fail("the steps between", error)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print whether the block held. Raises Failed where it did not."""
        self.steps += 1
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            self._fail(what, error)
            raise Failed(what) from error
        self.say(f"  ok    {what} ({time.monotonic() - began:.1f} s)")

    def _fail(self, what: str, error: Exception) -> None:
        self.failures.append(f"{self._chapter}: {what}")
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        self.say(f"  FAIL  {what}: {type(error).__name__}: {error}{place}")

    def verdict(self) -> bool:
        """Print the end, and return whether all of it held."""
        if self.failures:
            self.say(f"\n{len(self.failures)} of {self.steps} steps FAILED:")
            for failure in self.failures:
                self.say(f"  {failure}")
            return False
        self.say(f"\nall {self.steps} steps hold")
        return True


def expect(holds: bool, sentence: str) -> None:
    """Raise Failed with `sentence`, which says what was found, unless it holds."""
    if not holds:
        raise Failed(sentence)
