"""Prints figures as they are measured, and at the end the verdict on each limit."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure, its limit, and whether the limit was met."""

    name: str
    figure: str
    limit: str
    passed: bool


class Report:
    """Collects verdicts."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    @property
    def passed(self) -> bool:
        """Whether every limit was met."""
        return all(verdict.passed for verdict in self.verdicts)

    def at_most(self, name: str, figure: float, limit: float, unit: str = "") -> None:
        """Compare a figure with its upper limit."""
        self._judge(name, figure, limit, unit, "at most", passed=figure <= limit)

    def at_least(self, name: str, figure: float, limit: float, unit: str = "") -> None:
        """Compare a figure with its lower limit."""
        self._judge(name, figure, limit, unit, "at least", passed=figure >= limit)

    def _judge(self, name: str, figure: float, limit: float, unit: str, relation: str, *, passed: bool) -> None:
        self.verdicts.append(Verdict(name, f"{figure:.3g}{unit}", f"{relation} {limit:g}{unit}", passed))

    def show(self) -> None:
        """Print all verdicts."""
        rows = [
            [verdict.name, verdict.figure, verdict.limit, "met" if verdict.passed else "EXCEEDED"]
            for verdict in self.verdicts
        ]
        show_table(["limit of", "figure", "limit", "verdict"], rows)


def print_line(line: str = "") -> None:
    """Print a line and flush it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. The first column is left-aligned, the others are right-aligned."""
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    for row in (columns, *rows):
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_line("    " + "  ".join((first, *(cell.strip().rjust(len(cell)) for cell in others))))
    print_line()
