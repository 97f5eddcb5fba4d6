"""The notification channel, up and cut: what it makes fast must stay right without it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.cluster import CACHE_TTL
from chaos.links import Link
from chaos.load import summary
from chaos.postgresql import LISTENER
from chaos.replicas import Replica
from chaos.stage import PATIENT, Stage
from chaos.waiting import PATIENCE

_COUNT = 5
_WITHIN = 1.0
# A loaded machine may be as much slower before the verdict is broken.
_INDULGENCE = 1.5
_TERMINATE = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{LISTENER}'"


async def cut_channel(stage: Stage) -> None:
    """Revocation takes effect in its time, and refreshes coalesce, either way."""
    replicas = await stage.replicas(PATIENT)
    await _revoke(stage, replicas, _WITHIN, "with the channel up")
    async with _cut_off(stage):
        await _revoke(stage, replicas, CACHE_TTL, "with the channel cut")
        links = await stage.link(_COUNT)
        answers = await stage.cluster.caller.flood(replicas, links, 20)
        outcomes = await stage.cluster.links.outcomes(links)
        stage.note(f"{len(answers)} queries on {_COUNT} expired tokens: {summary(answers)}; {len(outcomes)} attempts")
        stage.expect(all(answer.is_good for answer in answers), f"queries were refused: {summary(answers)}")
        stage.expect(outcomes == ["refreshed"] * _COUNT, f"{len(outcomes)} attempts on {_COUNT} expired tokens")
    await stage.cluster.revoked()


async def _revoke(stage: Stage, replicas: list[Replica], within: float, when: str) -> None:
    """Delete connections that every replica has in its memory, while the bank itself would still serve them."""
    await stage.cluster.bank.misbehave(revocation={"status": 503})
    links = await stage.link(_COUNT, seconds_left=600)
    for _ in range(2):
        answers = await stage.cluster.caller.flood(replicas, links, 1)
        stage.expect(all(answer.is_good for answer in answers), f"before the deletion: {summary(answers)}")
    last_good = max(await asyncio.gather(*(_last_good(stage, replicas, link) for link in links)))
    stage.note(
        f"{when}, the last query was let through {last_good:.2f} s after the deletion; {within:g} s are promised"
    )
    stage.expect(last_good <= within * _INDULGENCE, f"{when}, a deleted connection was usable for {last_good:.2f} s")
    await stage.cluster.bank.behave()


async def _last_good(stage: Stage, replicas: list[Replica], link: Link) -> float:
    """Delete a connection and return for how long after that a query was still let through, on any replica."""
    ask = stage.cluster.caller.query
    status = await stage.cluster.caller.disconnect(replicas[0], link)
    stage.expect(status == 204, f"the deletion was answered with {status}")
    deleted_at = time.monotonic()

    async def last_good(replica: Replica) -> float:
        last = 0.0
        while last < PATIENCE:
            asked_at = time.monotonic()
            if not (await ask(replica, link)).is_good:
                return last
            last = asked_at - deleted_at
            await asyncio.sleep(0.05)
        return last

    return max(await asyncio.gather(*map(last_good, replicas)))


@asynccontextmanager
async def _cut_off(stage: Stage) -> AsyncIterator[None]:
    """Let nobody listen."""
    postgresql = stage.cluster.postgresql
    await postgresql.execute(f"ALTER ROLE {LISTENER} NOLOGIN", _TERMINATE)
    try:
        yield
    finally:
        await postgresql.execute(f"ALTER ROLE {LISTENER} LOGIN")
