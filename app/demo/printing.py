"""Prints the demo: numbered steps with what was sent, what was received and how long it took."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from io import TextIOWrapper

import httpx
from rich.console import Console
from rich.text import Text

from app.demo.expectations import Unexpected
from app.demo.redaction import Redactor
from app.errors import BrokerError

_INDENT = "    "


class StepFailed(Exception):
    """A step failed, and its failure was printed."""


class Step:
    """Collects the lines of one step."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.lines: list[Text] = []

    def sent(self, text: str) -> None:
        """Show what was sent."""
        self._add("→ ", text, "cyan")

    def received(self, text: str) -> None:
        """Show what was received."""
        self._add("← ", text, "green")

    def note(self, text: str) -> None:
        """Show further details of what was sent or received."""
        self._add("  ", text, "")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """Show a table. The columns in `right` are aligned to the right."""
        shown = [columns, *([self._redactor.redact(cell) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for row in shown:
            cells = [
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, cell, width in zip(columns, row, widths, strict=True)
            ]
            self._add("  ", "   ".join(cells).rstrip(), "", "bold" if row is columns else "")

    def failed(self, expected: str, actual: str) -> None:
        """Show why the step failed."""
        self._add("✗ expected ", expected, "bold red")
        self._add("  got      ", actual, "bold red")

    def _add(self, mark: str, text: str, style: str, text_style: str = "") -> None:
        first, *others = self._redactor.redact(text).splitlines() or [""]
        self.lines.append(Text.assemble(_INDENT, (mark, style), (first, text_style)))
        self.lines.extend(Text(f"{_INDENT}{' ' * len(mark)}{line}") for line in others)


class Printer:
    """Prints to standard output, in colour if that is a terminal."""

    def __init__(self, redactor: Redactor) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            # Some terminals cannot show an arrow.
            sys.stdout.reconfigure(errors="replace")
        self.redactor = redactor
        self.steps = 0
        self._console = _open_console()
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long the demo has been running."""
        return time.perf_counter() - self._began

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time a step, and print it when it ends. Raises StepFailed if it fails."""
        self.steps += 1
        step = Step(self.redactor)
        began = time.perf_counter()
        spinner = self._console.status(f"{self.steps}. {title}") if self._console.is_terminal else nullcontext()
        try:
            with spinner:
                yield step
        except Unexpected as error:
            step.failed(error.expected, error.actual)
            raise StepFailed from error
        except BrokerError as error:
            step.failed("success", error.detail)
            raise StepFailed from error
        except (httpx.HTTPError, OSError) as error:
            step.failed("success", f"{type(error).__name__}: {error}")
            raise StepFailed from error
        finally:
            milliseconds = (time.perf_counter() - began) * 1000
            heading = Text.assemble((f"{self.steps:>2}. {title}", "bold"), (f"  ({milliseconds:,.0f} ms)", "dim"))
            for line in (heading, *step.lines):
                self._console.print(line)

    def reset(self) -> None:
        """Make printing work again after a signal, which may have interrupted it."""
        self._console = _open_console()
        self._console.show_cursor()

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line outside the steps."""
        self._console.print(Text(self.redactor.redact(text), style))

    def unredacted_line(self, text: str = "", style: str = "") -> None:
        """Print a line with its secrets, for the user to copy."""
        self._console.print(Text(text, style))


def _open_console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
