"""A connection that is deleted while its refresh is under way: its new tokens must not outlive it."""

import asyncio

from chaos.gate import Point
from chaos.links import Link
from chaos.load import summary
from chaos.replicas import Replica
from chaos.stage import PATIENT, Stage

_EXPECTED = {
    # The bank is told of the deletion first, and then refuses the refresh.
    Point.BEFORE_THE_BANK: (["superseded"], 1),
    # New tokens come back to a connection that is no more.
    Point.BEFORE_THE_ANSWER: (["revoked"], 2),
}


async def deleted_while_refreshed(stage: Stage) -> None:
    """Deleted on another replica, before the bank sees the refresh and after it has rotated."""
    replicas = await stage.replicas(PATIENT)
    for point, (outcomes, revocations) in _EXPECTED.items():
        for _ in range(stage.pick(1, 10)):
            (link,) = await stage.link(1)
            before = await stage.cluster.bank.total("revocations")
            await _delete(stage, replicas, link, point)
            told = await stage.cluster.bank.total("revocations") - before
            found = await stage.cluster.links.outcomes([link])
            stage.expect(found == outcomes, f"deleted {point.name.lower()}, the attempts were {found}, not {outcomes}")
            stage.expect(told == revocations, f"the bank was told to revoke {told} tokens, not {revocations}")


async def _delete(stage: Stage, replicas: list[Replica], link: Link, point: Point) -> None:
    cluster = stage.cluster
    async with cluster.gate.holding(point) as hold:
        asking = asyncio.create_task(cluster.caller.query(replicas[0], link))
        await hold.arrived()
        status = await cluster.caller.disconnect(replicas[1], link)
        stage.expect(status == 204, f"the deletion was answered with {status}")
    waited = await asking
    await cluster.revoked()
    answers = [waited, *[await cluster.caller.query(replica, link) for replica in replicas]]
    stage.note(f"deleted {point.name.lower()}: who waited, and each replica afterwards: {summary(answers)}")
    stage.expect(
        all(answer.code == "CONNECTION_REVOKED" for answer in answers), f"a deleted connection: {summary(answers)}"
    )
