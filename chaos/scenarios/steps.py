"""Kills a replica at every step of the protocol: claim, call, save."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle

from chaos.gate import Point
from chaos.links import Link
from chaos.locks import locked_row, stopped_saves
from chaos.replicas import Replica
from chaos.stage import SHORT_LEASES, Stage
from chaos.waiting import until

_GRACE = 300

Step = Callable[[Stage, Replica, Link], Awaitable[None]]


async def kills_at_every_step(stage: Stage) -> None:
    """Each kill interrupts one refresh. The next query must refresh the connection, or report its loss.

    Run once without a grace period for reuse, and once with one. With it no connection may be lost.
    """
    times = stage.pick(2, 20) // 2
    victims = cycle(await stage.replicas(SHORT_LEASES))
    for grace in (0, _GRACE):
        await stage.cluster.bank.set_faults(refresh_reuse_grace=grace)
        killed = {}
        for name, step, _ in _STEPS:
            # A restarted replica saves its spool. The barrier of a later step would mistake that for its own refresh.
            await until("every spool to be empty", lambda: not stage.cluster.fleet.spooled())
            killed[name] = await _kill(stage, times, step, victims)
        lost = [name for name, _, is_lost in _STEPS if is_lost and not grace]
        stage.unavoidable_losses += times * len(lost)
        answers = iter(await stage.recover([link for links in killed.values() for link in links]))
        for name, links in killed.items():
            recovered = sum(next(answers).is_good for _ in links)
            stage.log(f"grace {grace} s, killed {name}: {recovered} of {times} recovered")
            expected = 0 if name in lost else times
            stage.expect(recovered == expected, f"killed {name}: {recovered} of {times} recovered, not {expected}")


async def _kill(stage: Stage, times: int, step: Step, victims: Iterator[Replica]) -> list[Link]:
    """Kill the replicas in turn, each during a refresh. While one restarts, the next one is used."""
    links = await stage.link(times)
    for link, victim in zip(links, victims, strict=False):
        await victim.wait_until_ready()
        await step(stage, victim, link)
        await victim.start()
    return links


@asynccontextmanager
async def _querying(stage: Stage, replica: Replica, link: Link) -> AsyncIterator[None]:
    """Send a query, and kill the replica at the end of the block."""
    query = asyncio.create_task(stage.cluster.caller.query(replica, link))
    try:
        yield
    finally:
        # Also if the block fails: the query to a frozen replica would never end.
        await stage.kill(replica)
        await query


async def _before_the_claim(stage: Stage, replica: Replica, link: Link) -> None:
    async with locked_row(stage.cluster.postgresql, link) as row, _querying(stage, replica, link):
        await row.reached()


async def _at(point: Point, stage: Stage, replica: Replica, link: Link) -> None:
    async with stage.cluster.gate.stopping_at(point) as stopped:
        async with _querying(stage, replica, link):
            await stopped.arrived()
        stopped.disconnect()


async def _before_the_bank(stage: Stage, replica: Replica, link: Link) -> None:
    await _at(Point.BEFORE_BANK, stage, replica, link)


async def _at_the_bank(stage: Stage, replica: Replica, link: Link) -> None:
    await _at(Point.AT_BANK, stage, replica, link)


async def _before_the_response(stage: Stage, replica: Replica, link: Link) -> None:
    await _at(Point.BEFORE_RESPONSE, stage, replica, link)


async def _before_the_save(stage: Stage, replica: Replica, link: Link) -> None:
    async with stage.cluster.gate.stopping_at(Point.BEFORE_RESPONSE) as stopped, _querying(stage, replica, link):
        await stopped.arrived()
        async with locked_row(stage.cluster.postgresql, link) as row:
            stopped.release()
            await row.reached()
            stage.expect(replica.spooled() == 1, "a save began before the response was spooled")
            replica.freeze()


async def _after_the_save(stage: Stage, replica: Replica, link: Link) -> None:
    async with stopped_saves(stage.cluster.postgresql) as commits, _querying(stage, replica, link):
        await commits.reached()
        replica.freeze()
        await commits.release()

        async def is_saved() -> bool:
            return await stage.cluster.links.version(link) == 2

        await until("the commit", is_saved)


_STEPS: tuple[tuple[str, Step, bool], ...] = (
    ("before the claim", _before_the_claim, False),
    ("after the claim, before the bank", _before_the_bank, False),
    ("while the bank processes it", _at_the_bank, True),
    ("after the bank's response, before it arrives", _before_the_response, True),
    ("after the bank's response, spooled", _before_the_save, False),
    ("after the save, before the replica knows", _after_the_save, False),
)
"""The name, the function, and whether the new tokens are lost without a grace period."""
