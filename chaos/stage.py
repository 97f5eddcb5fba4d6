"""What a scenario plays on: the cluster, its connections, and what it expects of them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from app.errors import DatabaseUnavailable
from chaos.accounting import Finding, Kind, judge
from chaos.cluster import Cluster
from chaos.links import Link
from chaos.load import Answer
from chaos.records import read_records
from chaos.replicas import Replica, Shape
from chaos.report import say
from chaos.waiting import PATIENCE, until

PATIENT = Shape(deadline=20, lease=25)
"""For scenarios in which no refresh may run out of time, however slow the machine."""
BRISK = Shape()
"""For scenarios that wait for leases to end."""


@dataclass
class Stage:
    """One scenario's view of the world. Everything that it counts is in the final table."""

    cluster: Cluster
    random: Random
    quick: bool
    lease: float = BRISK.lease
    links: list[Link] = field(default_factory=list)
    kills: int = 0
    inherent_losses: int = 0
    """How many connections may be reported as lost, since their answer died with whoever had it alone."""
    broken: list[str] = field(default_factory=list)
    """Expectations that did not hold."""

    def pick(self, quick: int, full: int) -> int:
        """Choose a number by the form of the run."""
        return quick if self.quick else full

    def note(self, sentence: str) -> None:
        """Tell how it goes."""
        say(f"    {sentence}")

    def expect(self, holds: bool, sentence: str) -> None:
        """Keep a promise that was broken for the verdict."""
        if not holds:
            self.broken.append(sentence)
            self.note(f"BROKEN: {sentence}")

    async def replicas(self, shape: Shape) -> list[Replica]:
        """Have the fleet in this shape. All refreshes of a scenario have one lease."""
        self.lease = shape.lease
        return await self.cluster.fleet.take(shape)

    async def link(self, count: int, *, seconds_left: float = -1) -> list[Link]:
        """Link accounts whose access tokens have expired, or have `seconds_left`."""
        made = await self.cluster.links.make(count, seconds_left=seconds_left)
        self.links.extend(made)
        return made

    async def link_one(self) -> Link:
        """Link one account, also when the database is away for a while."""
        while True:
            try:
                return (await self.link(1))[0]
            except DatabaseUnavailable:
                await asyncio.sleep(0.1)

    async def kill(self, replica: Replica) -> None:
        """SIGKILL a replica."""
        self.kills += 1
        await replica.kill()

    async def insist(self, link: Link, replicas: Sequence[Replica] = (), *, patience: float = 2 * PATIENCE) -> Answer:
        """Query a connection, on any of the replicas (of all, by default), until the answer is good or final."""
        deadline = time.monotonic() + patience
        while True:
            serving = [replica for replica in replicas or self.cluster.fleet.replicas if replica.is_ready]
            answer = await self.cluster.caller.query(self.random.choice(serving), link) if serving else Answer(0)
            if answer.is_good or answer.is_final:
                return answer
            if time.monotonic() > deadline:
                self.expect(False, f"{link.id} did not recover: {answer}")
                return answer
            await asyncio.sleep(min(max(answer.retry_after, 0.1), 1.0))

    async def settle(self, links: Sequence[Link] | None = None) -> list[Answer]:
        """Mend the world, let the spools empty, and query each connection until it has an answer that stays."""
        await self.cluster.postgresql.start()
        await self.cluster.bank.behave()
        await self.cluster.fleet.all_up()
        await until("the spools to empty", lambda: self.cluster.fleet.spooled() == 0)
        return list(await asyncio.gather(*(self.insist(link) for link in (self.links if links is None else links))))

    async def judge(self) -> list[Finding]:
        """Compare the bank's ledger with the broker's records, for every connection of the scenario."""
        cluster = self.cluster
        data_dirs = [replica.data_dir for replica in cluster.fleet.replicas]
        records = await read_records(cluster.database, cluster.key_ring, data_dirs, [link.id for link in self.links])
        families = await cluster.bank.families()
        findings = [
            finding
            for link, record in zip(self.links, records, strict=True)
            for finding in judge(record, families[link.first_token], lease=self.lease)
        ]
        reported = [finding for finding in findings if finding.kind is Kind.REPORTED]
        return [finding for finding in findings if finding.kind is not Kind.REPORTED] + [
            # Which of them are the inherent ones cannot be told apart; how many there may be can.
            Finding(Kind.LOST if number >= self.inherent_losses else Kind.REPORTED, one.connection_id, one.sentence)
            for number, one in enumerate(reported)
        ]

    async def expire(self, link: Link) -> None:
        """Let an access token's time be over, also when the database is away for a while."""
        while True:
            try:
                await self.cluster.links.expire(link)
            except DatabaseUnavailable:
                await asyncio.sleep(0.1)
            else:
                return
