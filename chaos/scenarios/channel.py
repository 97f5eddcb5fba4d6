"""Cuts off the notification channel. Without it the broker may be slower, but must stay correct."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.cluster import CACHE_TTL
from chaos.links import Link
from chaos.load import summary
from chaos.postgresql import LISTENER
from chaos.replicas import Replica
from chaos.stage import LONG_LEASES, Stage
from chaos.waiting import WAIT_TIMEOUT

_COUNT = 5
_REVOCATION_DELAY = 1.0  # seconds
# How much slower a loaded machine may be.
_TOLERANCE = 1.5
_TERMINATE = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{LISTENER}'"


async def cut_channel(stage: Stage) -> None:
    """Revocation takes effect in the promised time, and concurrent refreshes are one refresh, in both cases."""
    replicas = await stage.replicas(LONG_LEASES)
    await _revoke(stage, replicas, _REVOCATION_DELAY, "with the channel up")
    async with _cut_off(stage):
        await _revoke(stage, replicas, CACHE_TTL, "with the channel cut")
        links = await stage.link(_COUNT)
        answers = await stage.cluster.caller.flood(replicas, links, 20)
        outcomes = await stage.cluster.links.outcomes(links)
        stage.log(f"{len(answers)} queries on {_COUNT} expired tokens: {summary(answers)}; {len(outcomes)} attempts")
        stage.expect(all(answer.is_good for answer in answers), f"queries failed: {summary(answers)}")
        stage.expect(outcomes == ["refreshed"] * _COUNT, f"{len(outcomes)} attempts on {_COUNT} expired tokens")
    await stage.cluster.wait_for_revocations()


async def _revoke(stage: Stage, replicas: list[Replica], within: float, when: str) -> None:
    """Delete connections that every replica has cached, while the bank would still serve them."""
    await stage.cluster.bank.set_faults(revocation={"status": 503})
    links = await stage.link(_COUNT, seconds_left=600)
    for _ in range(2):
        answers = await stage.cluster.caller.flood(replicas, links, 1)
        stage.expect(all(answer.is_good for answer in answers), f"before the deletion: {summary(answers)}")
    last_good = max(await asyncio.gather(*(_last_good(stage, replicas, link) for link in links)))
    stage.log(f"{when}, the last query succeeded {last_good:.2f} s after the deletion; the limit is {within:g} s")
    stage.expect(last_good <= within * _TOLERANCE, f"{when}, a deleted connection was usable for {last_good:.2f} s")
    await stage.cluster.bank.clear_faults()


async def _last_good(stage: Stage, replicas: list[Replica], link: Link) -> float:
    """Delete a connection, and return how long afterwards a query on any replica still succeeded."""
    query = stage.cluster.caller.query
    status = await stage.cluster.caller.disconnect(replicas[0], link)
    stage.expect(status == 204, f"the deletion returned status {status}")
    deleted_at = time.monotonic()

    async def last_good(replica: Replica) -> float:
        last = 0.0
        while last < WAIT_TIMEOUT:
            sent_at = time.monotonic()
            if not (await query(replica, link)).is_good:
                return last
            last = sent_at - deleted_at
            await asyncio.sleep(0.05)
        return last

    return max(await asyncio.gather(*map(last_good, replicas)))


@asynccontextmanager
async def _cut_off(stage: Stage) -> AsyncIterator[None]:
    """Prevent the replicas from listening for notifications."""
    postgresql = stage.cluster.postgresql
    await postgresql.execute(f"ALTER ROLE {LISTENER} NOLOGIN", _TERMINATE)
    try:
        yield
    finally:
        await postgresql.execute(f"ALTER ROLE {LISTENER} LOGIN")
