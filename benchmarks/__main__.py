"""`python -m benchmarks`: run the benchmarks, print the figures, and compare them with their limits."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from app.demo.environment import clear_environment, temporary_run_directory
from app.demo.expectations import Unexpected
from benchmarks.machine import describe_machine
from benchmarks.report import Report, print_line
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.stage import open_stage


def main() -> int:
    """Run, and return the exit status."""
    options = _parser().parse_args()
    if not Path("/proc/self/clear_refs").exists():
        print_line("the benchmarks need Linux: they read CPU time and memory from /proc")
        return 2
    chosen = [
        scenario
        for scenario in SCENARIOS
        if (scenario.name in options.only if options.only else scenario.is_quick or not options.quick)
    ]
    print_line(f"benchmarks: {len(chosen)} scenarios, {'quick' if options.quick else 'full'} form")
    for line in describe_machine():
        print_line(f"    {line}")
    report = Report()
    try:
        uvloop.run(_run(chosen, report, quick=options.quick))
    except asyncio.CancelledError:
        print_line("interrupted; everything is stopped")
        return 130
    except Unexpected as error:
        print_line(f"the benchmarks failed: {error}")
        return 2
    report.show()
    print_line("every limit is met" if report.passed else "LIMITS EXCEEDED")
    return 0 if report.passed else 1


async def _run(scenarios: Sequence[Scenario], report: Report, *, quick: bool) -> None:
    clear_environment()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with temporary_run_directory() as place, open_stage(place, report, quick=quick) as stage:
        for scenario in scenarios:
            print_line(f"{scenario.name}: {scenario.title}")
            began = time.monotonic()
            await scenario.measure(stage)
            print_line(f"    ({time.monotonic() - began:.0f} s)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="under 90 seconds: only what is also meaningful on a busy machine"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[scenario.name for scenario in SCENARIOS],
        help="run only this scenario; repeatable",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
