"""What a run prints: figures as they come, and at the end the promises."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise, and whether it held."""

    promise: str
    figure: str
    limit: str
    holds: bool


class Report:
    """Gathers verdicts."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    @property
    def holds(self) -> bool:
        """Whether every promise that was measured held."""
        return all(verdict.holds for verdict in self.verdicts)

    def at_most(self, promise: str, figure: float, limit: float, unit: str = "") -> None:
        """Judge a figure that must not be larger."""
        self._judge(promise, figure, limit, unit, "at most", holds=figure <= limit)

    def at_least(self, promise: str, figure: float, limit: float, unit: str = "") -> None:
        """Judge a figure that must not be smaller."""
        self._judge(promise, figure, limit, unit, "at least", holds=figure >= limit)

    def _judge(self, promise: str, figure: float, limit: float, unit: str, relation: str, *, holds: bool) -> None:
        self.verdicts.append(Verdict(promise, f"{figure:.3g}{unit}", f"{relation} {limit:g}{unit}", holds))

    def show(self) -> None:
        """Print every promise with its verdict."""
        rows = [
            [verdict.promise, verdict.figure, verdict.limit, "holds" if verdict.holds else "FALLS SHORT"]
            for verdict in self.verdicts
        ]
        show_table(["promise", "figure", "limit", "verdict"], rows)


def say(line: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their columns; the first column stands left, figures stand right."""
    widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns))]
    for row in (columns, *rows):
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("    " + "  ".join((first, *(cell.strip().rjust(len(cell)) for cell in others))))
    say()
