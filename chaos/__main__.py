"""`python -m chaos`: run the scenarios, compare the bank's ledger with the broker's records, and print a table."""

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
from chaos.report import Result, describe, print_line, show_findings, show_table
from chaos.scenarios import SCENARIOS, Scenario
from chaos.stage import Stage


def main() -> int:
    """Run, and return the exit status."""
    options = _parser().parse_args()
    chosen = [scenario for scenario in SCENARIOS if not options.only or scenario.name in options.only]
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print_line(f"chaos: {len(chosen)} scenarios, {'quick' if options.quick else 'full'} form, --seed {seed}")
    try:
        results = asyncio.run(_run(chosen, seed=seed, quick=options.quick, logs=options.logs))
    except asyncio.CancelledError as error:
        print_line(f"interrupted by {error}; everything is stopped")
        return 130
    show_table(results)
    passed = all(result.passed for result in results)
    print_line(f"{'every guarantee holds' if passed else 'GUARANTEES BROKEN'}; --seed {seed}")
    return 0 if passed else 1


async def _run(scenarios: Sequence[Scenario], *, seed: int, quick: bool, logs: Path | None) -> list[Result]:
    _cancel_on_first_signal()
    async with open_cluster(logs) as cluster:
        # Each scenario has its own generator, so that --only makes the same random choices.
        return [
            await _run_scenario(cluster, scenario, Random(f"{seed} {scenario.name}"), quick=quick)
            for scenario in scenarios
        ]


def _cancel_on_first_signal() -> None:
    """Cancel the run at the first signal. Later signals must not interrupt the cleanup."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop(number: signal.Signals) -> None:
        if task is not None and not task.cancelling():
            task.cancel(number.name)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


async def _run_scenario(cluster: Cluster, scenario: Scenario, random: Random, *, quick: bool) -> Result:
    print_line(f"{scenario.name}: {scenario.title}")
    stage = Stage(cluster=cluster, random=random, quick=quick)
    began = time.monotonic()
    findings = []
    refreshes = 0
    try:
        await cluster.bank.set_faults(refresh_reuse_grace=0)
        before = await _refreshes(cluster)
        await scenario.run(stage)
        await stage.recover()
        refreshes = await _refreshes(cluster) - before
        findings = await stage.judge()
    except Exception as error:  # noqa: BLE001 - a scenario that fails is reported, and the others still run
        stage.expect(False, f"the scenario failed: {describe(error)}")
    seconds = time.monotonic() - began
    result = Result(scenario.name, seconds, len(stage.links), refreshes, stage.kills, findings, stage.broken)
    show_findings(result)
    print_line(f"    {'holds' if result.passed else 'BROKEN'} ({seconds:.1f} s)")
    return result


async def _refreshes(cluster: Cluster) -> int:
    return int((await cluster.bank.total("token_requests")).get("refresh_token", {}).get("ok", 0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run for two minutes instead of twenty")
    parser.add_argument("--seed", type=int, help="repeat the random choices of an earlier run")
    parser.add_argument(
        "--only",
        action="append",
        choices=[scenario.name for scenario in SCENARIOS],
        help="run only this scenario; repeatable",
    )
    parser.add_argument("--logs", type=Path, help="copy the logs of all processes to this directory")
    return parser


if __name__ == "__main__":
    sys.exit(main())
