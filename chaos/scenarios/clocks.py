"""Replicas whose clocks are minutes apart: what they share is the database's clock."""

from dataclasses import replace

from chaos.load import summary
from chaos.stage import PATIENT, Stage

_SHIFTS = (-300.0, 0.0, 300.0)
_COUNT = 10


async def clocks_apart(stage: Stage) -> None:
    """One refresh for each expired token, no query refused, and no refresh of a token that is good."""
    replicas = await stage.replicas(replace(PATIENT, clock_shifts=_SHIFTS))
    links = await stage.link(_COUNT)
    for generation in (1, 2):
        for occasion in ("expired", "good"):
            answers = await stage.cluster.caller.flood(replicas, links, 3)
            outcomes = await stage.cluster.links.outcomes(links)
            stage.note(f"{len(answers)} queries on {_COUNT} {occasion} tokens: {summary(answers)}")
            stage.expect(all(answer.is_good for answer in answers), f"queries were refused: {summary(answers)}")
            wanted = ["refreshed"] * (_COUNT * generation)
            stage.expect(outcomes == wanted, f"{len(outcomes)} attempts where {len(wanted)} were due")
        for link in links:
            await stage.expire(link)
