"""What a run prints."""

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
    """One scenario, played and judged."""

    name: str
    seconds: float
    connections: int
    refreshes: int
    kills: int
    findings: Sequence[Finding]
    broken: Sequence[str]

    def count(self, kind: Kind) -> int:
        """Count connections, not findings."""
        return len({finding.connection_id for finding in self.findings if finding.kind is kind})

    @property
    def holds(self) -> bool:
        """Whether nothing happened that must not."""
        return not self.broken and all(finding.kind is Kind.REPORTED for finding in self.findings)

    def cells(self) -> list[str]:
        """Return its row of the table."""
        counts = [self.count(kind) for kind in (Kind.REPORTED, Kind.LOST, Kind.TWICE, Kind.UNACCOUNTED)]
        verdict = "holds" if self.holds else "BROKEN"
        return [
            self.name,
            verdict,
            f"{self.seconds:.0f}",
            *map(str, (self.connections, self.refreshes, self.kills, *counts)),
        ]


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def describe(error: BaseException) -> str:
    """Say what went wrong, also where several things did."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(describe, error.exceptions))
    place = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{type(error).__name__}: {error} ({', '.join(f'{Path(one.filename).name}:{one.lineno}' for one in place)})"


def show_findings(result: Result, most: int = 12) -> None:
    """Print what does not add up."""
    wrong = [finding for finding in result.findings if finding.kind is not Kind.REPORTED]
    for finding in wrong[:most]:
        say(f"    {finding.kind.upper()}: {finding.connection_id} {finding.sentence}")
    if len(wrong) > most:
        say(f"    and {len(wrong) - most} more")


def show_table(results: Sequence[Result]) -> None:
    """Print one row for each scenario, and the sums."""
    total = Result(
        "total",
        sum(one.seconds for one in results),
        sum(one.connections for one in results),
        sum(one.refreshes for one in results),
        sum(one.kills for one in results),
        [finding for one in results for finding in one.findings],
        [sentence for one in results for sentence in one.broken],
    )
    rows = [list(_COLUMNS), *(one.cells() for one in (*results, total))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    say("")
    for row in rows:
        first, *others = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join((first, *others)))
    say(
        f"\n{total.count(Kind.LOST)} connections lost, {total.count(Kind.TWICE)} versions refreshed twice, "
        f"{total.count(Kind.UNACCOUNTED)} outcomes unaccounted for; "
        f"{total.count(Kind.REPORTED)} reported as refresh_outcome_lost whose answer nobody had; {total.kills} kills"
    )
