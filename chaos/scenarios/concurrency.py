"""Many callers notice at once that a token has expired: one refresh for each version, and nobody is refused."""

from chaos.links import Link
from chaos.load import summary
from chaos.stage import PATIENT, Stage


async def one_expired_token(stage: Stage) -> None:
    """500 queries to each of 3 replicas, all at the same moment."""
    await stage.replicas(PATIENT)
    links = await stage.link(1)
    await _flood(stage, links, each=500)


async def many_connections_at_once(stage: Stage) -> None:
    """200 connections, each asked for on every replica, while the bank is slow."""
    await stage.replicas(PATIENT)
    await stage.cluster.bank.misbehave(token={"delay": 2})
    links = await stage.link(200)
    await _flood(stage, links, each=stage.pick(1, 2))


async def _flood(stage: Stage, links: list[Link], *, each: int) -> None:
    answers = await stage.cluster.caller.flood(stage.cluster.fleet.replicas, links, each)
    stage.note(f"{len(answers)} queries on {len(links)} expired tokens: {summary(answers)}")
    failed = [answer for answer in answers if not answer.is_good]
    stage.expect(not failed, f"{len(failed)} of {len(answers)} queries failed: {summary(failed)}")
    outcomes = await stage.cluster.links.outcomes(links)
    stage.expect(outcomes == ["refreshed"] * len(links), f"{len(outcomes)} attempts for {len(links)} expired tokens")
