"""`python -m benchmarks`: measure, print the figures, and judge the promises."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from app.demo.environment import clear_environment, fresh_place
from app.demo.expectations import Unexpected
from benchmarks.machine import describe_machine
from benchmarks.report import Report, say
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.stage import open_stage


def main() -> int:
    """Run, and return the exit status."""
    options = _parser().parse_args()
    if not Path("/proc/self/clear_refs").exists():
        say("the benchmarks read CPU time and memory from Linux' /proc, which is not here")
        return 2
    chosen = [
        one for one in SCENARIOS if (one.name in options.only if options.only else one.is_quick or not options.quick)
    ]
    say(f"benchmarks: {len(chosen)} scenarios, {'quick' if options.quick else 'full'} form")
    for line in describe_machine():
        say(f"    {line}")
    report = Report()
    try:
        uvloop.run(_run(chosen, report, quick=options.quick))
    except asyncio.CancelledError:
        say("interrupted; everything is stopped")
        return 130
    except Unexpected as error:
        say(f"the benchmarks cannot go on: {error}")
        return 2
    report.show()
    say("every promise holds" if report.holds else "PROMISES FALL SHORT")
    return 0 if report.holds else 1


async def _run(scenarios: Sequence[Scenario], report: Report, *, quick: bool) -> None:
    clear_environment()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with fresh_place() as place, open_stage(place, report, quick=quick) as stage:
        for scenario in scenarios:
            say(f"{scenario.name}: {scenario.title}")
            began = time.monotonic()
            await scenario.measure(stage)
            say(f"    ({time.monotonic() - began:.0f} s)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 90 seconds: what a busy machine can tell as well")
    parser.add_argument(
        "--only", action="append", choices=[one.name for one in SCENARIOS], help="a scenario, repeatable"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
