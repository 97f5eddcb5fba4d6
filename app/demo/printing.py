"""How the demo prints: numbered steps, what was sent, what came, how long it took."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from io import TextIOWrapper

import httpx
from rich.console import Console
from rich.text import Text

from app.demo.disguise import Disguise
from app.demo.expectations import Unexpected
from app.errors import BrokerError

_INDENT = "    "


class StepFailed(Exception):
    """A step did not hold, and was printed so."""


class Step:
    """Collects what one step has to show."""

    def __init__(self, disguise: Disguise) -> None:
        self._disguise = disguise
        self.lines: list[Text] = []

    def sent(self, text: str) -> None:
        """Show what went out."""
        self._add("→ ", text, "cyan")

    def came(self, text: str) -> None:
        """Show what came back."""
        self._add("← ", text, "green")

    def note(self, text: str) -> None:
        """Show what else there is to say, below what was sent or came."""
        self._add("  ", text, "")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """Show rows under heads; the columns `right` are aligned as numbers."""
        shown = [heads, *([self._disguise.apply(cell) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for row in shown:
            cells = [
                cell.rjust(width) if head in right else cell.ljust(width)
                for head, cell, width in zip(heads, row, widths, strict=True)
            ]
            self._add("  ", "   ".join(cells).rstrip(), "", "bold" if row is heads else "")

    def failed(self, expected: str, came: str) -> None:
        """Show why the step does not hold."""
        self._add("✗ expected ", expected, "bold red")
        self._add("  came     ", came, "bold red")

    def _add(self, mark: str, text: str, style: str, text_style: str = "") -> None:
        first, *further = self._disguise.apply(text).splitlines() or [""]
        self.lines.append(Text.assemble(_INDENT, (mark, style), (first, text_style)))
        self.lines.extend(Text(f"{_INDENT}{' ' * len(mark)}{line}") for line in further)


class Printer:
    """Prints to standard output: coloured on a terminal, plain elsewhere."""

    def __init__(self, disguise: Disguise) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            # An output that cannot show an arrow is no reason to fail.
            sys.stdout.reconfigure(errors="replace")
        self.disguise = disguise
        self.steps = 0
        self._console = _open_console()
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long ago the demo began."""
        return time.perf_counter() - self._began

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time a step and print it when it ends. Raises StepFailed where it does not hold."""
        self.steps += 1
        step = Step(self.disguise)
        began = time.perf_counter()
        waiting = self._console.status(f"{self.steps}. {title}") if self._console.is_terminal else nullcontext()
        try:
            with waiting:
                yield step
        except Unexpected as error:
            step.failed(error.expected, error.came)
            raise StepFailed from error
        except BrokerError as error:
            step.failed("that it can be done", error.detail)
            raise StepFailed from error
        except (httpx.HTTPError, OSError) as error:
            step.failed("that it can be done", f"{type(error).__name__}: {error}")
            raise StepFailed from error
        finally:
            milliseconds = (time.perf_counter() - began) * 1000
            head = Text.assemble((f"{self.steps:>2}. {title}", "bold"), (f"  ({milliseconds:,.0f} ms)", "dim"))
            for line in (head, *step.lines):
                self._console.print(line)

    def renew(self) -> None:
        """Make printing work again after a signal, which may have broken off a print in its middle."""
        self._console = _open_console()
        self._console.show_cursor()

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line between the steps."""
        self._console.print(Text(self.disguise.apply(text), style))

    def reveal(self, text: str = "", style: str = "") -> None:
        """Print a line as it is, for what somebody is meant to copy."""
        self._console.print(Text(text, style))


def _open_console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
