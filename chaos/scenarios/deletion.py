"""Deletes a connection during its refresh. Its new tokens must be revoked too."""

import asyncio

from chaos.gate import Point
from chaos.links import Link
from chaos.load import summary
from chaos.replicas import Replica
from chaos.stage import LONG_LEASES, Stage

_EXPECTED = {
    # The bank gets the revocation first, and then rejects the refresh.
    Point.BEFORE_BANK: (["superseded"], 1),
    # The new tokens belong to a connection that was already deleted.
    Point.BEFORE_RESPONSE: (["revoked"], 2),
}


async def deleted_while_refreshed(stage: Stage) -> None:
    """Delete it on another replica, before the bank receives the refresh and after it has rotated the token."""
    replicas = await stage.replicas(LONG_LEASES)
    for point, (outcomes, revocations) in _EXPECTED.items():
        for _ in range(stage.pick(1, 10)):
            (link,) = await stage.link(1)
            before = await stage.cluster.bank.total("revocations")
            await _delete(stage, replicas, link, point)
            revoked = await stage.cluster.bank.total("revocations") - before
            actual = await stage.cluster.links.outcomes([link])
            stage.expect(
                actual == outcomes, f"deleted {point.name.lower()}, the attempts were {actual}, not {outcomes}"
            )
            stage.expect(revoked == revocations, f"the bank revoked {revoked} tokens, not {revocations}")


async def _delete(stage: Stage, replicas: list[Replica], link: Link, point: Point) -> None:
    cluster = stage.cluster
    async with cluster.gate.stopping_at(point) as stopped:
        querying = asyncio.create_task(cluster.caller.query(replicas[0], link))
        await stopped.arrived()
        status = await cluster.caller.disconnect(replicas[1], link)
        stage.expect(status == 204, f"the deletion returned status {status}")
    waiting = await querying
    await cluster.wait_for_revocations()
    answers = [waiting, *[await cluster.caller.query(replica, link) for replica in replicas]]
    stage.log(
        f"deleted {point.name.lower()}: the waiting query, and one on each replica afterwards: {summary(answers)}"
    )
    stage.expect(
        all(answer.code == "CONNECTION_REVOKED" for answer in answers), f"a deleted connection: {summary(answers)}"
    )
