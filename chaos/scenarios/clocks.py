"""Replicas whose clocks differ by minutes. They must use the database's clock."""

from dataclasses import replace

from chaos.load import summary
from chaos.stage import LONG_LEASES, Stage

_SHIFTS = (-300.0, 0.0, 300.0)
_COUNT = 10


async def clocks_apart(stage: Stage) -> None:
    """Each expired token is refreshed once, valid tokens are not refreshed, and no query fails."""
    replicas = await stage.replicas(replace(LONG_LEASES, clock_shifts=_SHIFTS))
    links = await stage.link(_COUNT)
    for generation in (1, 2):
        for state in ("expired", "valid"):
            answers = await stage.cluster.caller.flood(replicas, links, 3)
            outcomes = await stage.cluster.links.outcomes(links)
            stage.log(f"{len(answers)} queries on {_COUNT} {state} tokens: {summary(answers)}")
            stage.expect(all(answer.is_good for answer in answers), f"queries failed: {summary(answers)}")
            expected = ["refreshed"] * (_COUNT * generation)
            stage.expect(outcomes == expected, f"{len(outcomes)} attempts instead of {len(expected)}")
        for link in links:
            await stage.expire(link)
