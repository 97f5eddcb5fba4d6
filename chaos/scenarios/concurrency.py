"""Many concurrent queries find an expired token: it is refreshed once, and all queries succeed."""

from chaos.links import Link
from chaos.load import summary
from chaos.stage import LONG_LEASES, Stage


async def one_expired_token(stage: Stage) -> None:
    """Send 500 concurrent queries to each of 3 replicas."""
    await stage.replicas(LONG_LEASES)
    links = await stage.link(1)
    await _flood(stage, links, each=500)


async def many_connections_at_once(stage: Stage) -> None:
    """Query 200 connections on every replica while the bank is slow."""
    await stage.replicas(LONG_LEASES)
    await stage.cluster.bank.set_faults(token={"delay": 2})
    links = await stage.link(200)
    await _flood(stage, links, each=stage.pick(1, 2))


async def _flood(stage: Stage, links: list[Link], *, each: int) -> None:
    answers = await stage.cluster.caller.flood(stage.cluster.fleet.replicas, links, each)
    stage.log(f"{len(answers)} queries on {len(links)} expired tokens: {summary(answers)}")
    failed = [answer for answer in answers if not answer.is_good]
    stage.expect(not failed, f"{len(failed)} of {len(answers)} queries failed: {summary(failed)}")
    outcomes = await stage.cluster.links.outcomes(links)
    stage.expect(outcomes == ["refreshed"] * len(links), f"{len(outcomes)} attempts for {len(links)} expired tokens")
