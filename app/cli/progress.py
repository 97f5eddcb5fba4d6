"""Progress of a long command, on standard error if that is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CLEAR_LINE = "\r\x1b[K"


@contextmanager
def counting(template: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that adds to a count. `template` shows the count as `{count}`."""
    count, began = 0, time.monotonic()
    is_shown = sys.stderr.isatty()

    def add(number: int) -> None:
        nonlocal count
        count += number
        if is_shown:
            elapsed = time.monotonic() - began
            sys.stderr.write(f"{_CLEAR_LINE}{template.format(count=f'{count:,}')}, {elapsed:.0f} s")
            sys.stderr.flush()

    add(0)
    try:
        yield add
    finally:
        if is_shown:
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()
