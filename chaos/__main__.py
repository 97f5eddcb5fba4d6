"""`python -m chaos`: play the scenarios, compare the bank's ledger with the broker's records, print a table."""

import argparse
import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from chaos.cluster import Cluster, open_cluster
from chaos.report import Result, describe, say, show_findings, show_table
from chaos.scenarios import SCENARIOS, Scenario
from chaos.stage import Stage


def main() -> int:
    """Run, and return the exit status."""
    options = _parser().parse_args()
    chosen = [one for one in SCENARIOS if not options.only or one.name in options.only]
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    say(f"chaos: {len(chosen)} scenarios, {'quick' if options.quick else 'full'} form, --seed {seed}")
    try:
        results = asyncio.run(_run(chosen, seed=seed, quick=options.quick, logs=options.logs))
    except asyncio.CancelledError as error:
        say(f"interrupted by {error}; everything is stopped")
        return 130
    show_table(results)
    holds = all(result.holds for result in results)
    say(f"{'every promise holds' if holds else 'PROMISES BROKEN'}; --seed {seed}")
    return 0 if holds else 1


async def _run(scenarios: Sequence[Scenario], *, seed: int, quick: bool, logs: Path | None) -> list[Result]:
    _stop_once()
    async with open_cluster(logs) as cluster:
        # Each scenario has choices of its own, so that --only repeats them.
        return [await _play(cluster, one, Random(f"{seed} {one.name}"), quick=quick) for one in scenarios]


def _stop_once() -> None:
    """Let the first signal end the run; the next ones must not interrupt the cleaning up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop(number: signal.Signals) -> None:
        if task is not None and not task.cancelling():
            task.cancel(number.name)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


async def _play(cluster: Cluster, scenario: Scenario, random: Random, *, quick: bool) -> Result:
    say(f"{scenario.name}: {scenario.title}")
    stage = Stage(cluster=cluster, random=random, quick=quick)
    began = time.monotonic()
    findings = []
    refreshes = 0
    try:
        await cluster.bank.misbehave(refresh_reuse_grace=0)
        before = await _refreshes(cluster)
        await scenario.play(stage)
        await stage.settle()
        refreshes = await _refreshes(cluster) - before
        findings = await stage.judge()
    except Exception as error:  # noqa: BLE001 - a scenario that cannot be played is a verdict, and the others count
        stage.expect(False, f"not played to its end: {describe(error)}")
    seconds = time.monotonic() - began
    result = Result(scenario.name, seconds, len(stage.links), refreshes, stage.kills, findings, stage.broken)
    show_findings(result)
    say(f"    {'holds' if result.holds else 'BROKEN'} ({seconds:.1f} s)")
    return result


async def _refreshes(cluster: Cluster) -> int:
    return int((await cluster.bank.total("token_requests")).get("refresh_token", {}).get("ok", 0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes; the full form takes under twenty")
    parser.add_argument("--seed", type=int, help="repeats the choices of an earlier run")
    parser.add_argument(
        "--only", action="append", choices=[one.name for one in SCENARIOS], help="a scenario, repeatable"
    )
    parser.add_argument("--logs", type=Path, help="a directory that keeps what every process said")
    return parser


if __name__ == "__main__":
    sys.exit(main())
