"""SIGKILL at every named step of the protocol: claim, call, save."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle

from chaos.gate import Point
from chaos.links import Link
from chaos.locks import locked_row, stopped_saves
from chaos.replicas import Replica
from chaos.stage import BRISK, Stage
from chaos.waiting import until

_GRACE = 300

Step = Callable[[Stage, Replica, Link], Awaitable[None]]


async def kills_at_every_step(stage: Stage) -> None:
    """Each kill hits one refresh of one connection, which must be refreshed, or reported, by whoever comes next.

    Half of them with a bank that allows no reuse, half with one that does: then nothing at all may be lost.
    """
    times = stage.pick(2, 20) // 2
    victims = cycle(await stage.replicas(BRISK))
    for grace in (0, _GRACE):
        await stage.cluster.bank.misbehave(refresh_reuse_grace=grace)
        killed = {}
        for name, step, _ in _STEPS:
            # What one kill left on disk is saved when its replica is back: in a later step's trap it would be mistaken.
            await until("every spool to be empty", lambda: not stage.cluster.fleet.spooled())
            killed[name] = await _kill(stage, times, step, victims)
        lost = [name for name, _, is_lost in _STEPS if is_lost and not grace]
        stage.inherent_losses += times * len(lost)
        answers = iter(await stage.settle([link for links in killed.values() for link in links]))
        for name, links in killed.items():
            recovered = sum(next(answers).is_good for _ in links)
            stage.note(f"grace {grace} s, killed {name}: {recovered} of {times} recovered")
            wanted = 0 if name in lost else times
            stage.expect(recovered == wanted, f"killed {name}: {recovered} of {times} recovered, not {wanted}")


async def _kill(stage: Stage, times: int, step: Step, victims: Iterator[Replica]) -> list[Link]:
    """Kill one replica after the other, each in a refresh of its own; while one starts again the next one serves."""
    links = await stage.link(times)
    for link, victim in zip(links, victims, strict=False):
        await victim.ready()
        await step(stage, victim, link)
        await victim.start()
    return links


@asynccontextmanager
async def _asking(stage: Stage, replica: Replica, link: Link) -> AsyncIterator[None]:
    """Have a caller wait for a query; the replica is dead when the block ends."""
    asking = asyncio.create_task(stage.cluster.caller.query(replica, link))
    try:
        yield
    finally:
        # Also where the block has failed: a replica that stands still would keep its caller waiting for ever.
        await stage.kill(replica)
        await asking


async def _before_the_claim(stage: Stage, replica: Replica, link: Link) -> None:
    async with locked_row(stage.cluster.postgresql, link) as row, _asking(stage, replica, link):
        await row.caught()


async def _at(point: Point, stage: Stage, replica: Replica, link: Link) -> None:
    async with stage.cluster.gate.holding(point) as hold:
        async with _asking(stage, replica, link):
            await hold.arrived()
        hold.drop()


async def _before_the_bank(stage: Stage, replica: Replica, link: Link) -> None:
    await _at(Point.BEFORE_THE_BANK, stage, replica, link)


async def _at_the_bank(stage: Stage, replica: Replica, link: Link) -> None:
    await _at(Point.AT_THE_BANK, stage, replica, link)


async def _before_the_answer(stage: Stage, replica: Replica, link: Link) -> None:
    await _at(Point.BEFORE_THE_ANSWER, stage, replica, link)


async def _before_the_save(stage: Stage, replica: Replica, link: Link) -> None:
    async with stage.cluster.gate.holding(Point.BEFORE_THE_ANSWER) as hold, _asking(stage, replica, link):
        await hold.arrived()
        async with locked_row(stage.cluster.postgresql, link) as row:
            hold.release()
            await row.caught()
            stage.expect(replica.spooled() == 1, "a save was begun before the answer was on disk")
            replica.freeze()


async def _after_the_save(stage: Stage, replica: Replica, link: Link) -> None:
    async with stopped_saves(stage.cluster.postgresql) as commits, _asking(stage, replica, link):
        await commits.caught()
        replica.freeze()
        await commits.open()

        async def is_saved() -> bool:
            return await stage.cluster.links.version(link) == 2

        await until("the commit", is_saved)


_STEPS: tuple[tuple[str, Step, bool], ...] = (
    ("before the claim", _before_the_claim, False),
    ("after the claim, before the bank", _before_the_bank, False),
    ("while the bank works", _at_the_bank, True),
    ("after the bank's answer, on its way", _before_the_answer, True),
    ("after the bank's answer, spooled", _before_the_save, False),
    ("after the save, before anybody knew", _after_the_save, False),
)
"""A name, what is done, and whether nobody is left with the answer."""
