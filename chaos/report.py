"""Prints progress, findings and the table of results."""

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.accounting import Finding, Kind

_COLUMNS = (
    "scenario",
    "verdict",
    "seconds",
    "connections",
    "refreshes",
    "kills",
    "reported",
    "lost",
    "twice",
    "unacc.",
)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one scenario."""

    name: str
    seconds: float
    connections: int
    refreshes: int
    kills: int
    findings: Sequence[Finding]
    broken: Sequence[str]

    def count(self, kind: Kind) -> int:
        """Count the connections with findings of a kind."""
        return len({finding.connection_id for finding in self.findings if finding.kind is kind})

    @property
    def passed(self) -> bool:
        """Whether nothing happened that must never happen."""
        return not self.broken and all(finding.kind is Kind.REPORTED for finding in self.findings)

    def cells(self) -> list[str]:
        """Return the row of the table."""
        counts = [self.count(kind) for kind in (Kind.REPORTED, Kind.LOST, Kind.TWICE, Kind.UNACCOUNTED)]
        verdict = "holds" if self.passed else "BROKEN"
        return [
            self.name,
            verdict,
            f"{self.seconds:.0f}",
            *map(str, (self.connections, self.refreshes, self.kills, *counts)),
        ]


def print_line(line: str) -> None:
    """Print a line and flush it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def describe(error: BaseException) -> str:
    """Describe an error, or all errors of a group."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(describe, error.exceptions))
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in place)
    return f"{type(error).__name__}: {error} ({where})"


def show_findings(result: Result, limit: int = 12) -> None:
    """Print the findings of a result."""
    wrong = [finding for finding in result.findings if finding.kind is not Kind.REPORTED]
    for finding in wrong[:limit]:
        print_line(f"    {finding.kind.upper()}: {finding.connection_id} {finding.sentence}")
    if len(wrong) > limit:
        print_line(f"    and {len(wrong) - limit} more")


def show_table(results: Sequence[Result]) -> None:
    """Print one row for each scenario, and the totals."""
    total = Result(
        "total",
        sum(result.seconds for result in results),
        sum(result.connections for result in results),
        sum(result.refreshes for result in results),
        sum(result.kills for result in results),
        [finding for result in results for finding in result.findings],
        [sentence for result in results for sentence in result.broken],
    )
    rows = [list(_COLUMNS), *(result.cells() for result in (*results, total))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    print_line("")
    for row in rows:
        first, *others = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print_line("  ".join((first, *others)))
    print_line(
        f"\n{total.count(Kind.LOST)} connections lost, {total.count(Kind.TWICE)} versions refreshed twice, "
        f"{total.count(Kind.UNACCOUNTED)} outcomes unaccounted for; "
        f"{total.count(Kind.REPORTED)} reported as refresh_outcome_lost after their new tokens were lost; "
        f"{total.kills} kills"
    )
