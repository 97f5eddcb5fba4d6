"""The environment of one scenario: the cluster, its connections, and the scenario's expectations."""

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
from chaos.report import print_line
from chaos.waiting import WAIT_TIMEOUT, until

# For scenarios in which no refresh may time out, even on a slow machine.
LONG_LEASES = Shape(deadline=20, lease=25)
# For scenarios that wait until leases expire.
SHORT_LEASES = Shape()


@dataclass
class Stage:
    """What one scenario uses and counts. The counts are in the final table."""

    cluster: Cluster
    random: Random
    quick: bool
    lease: float = SHORT_LEASES.lease
    links: list[Link] = field(default_factory=list)
    kills: int = 0
    unavoidable_losses: int = 0
    """How many connections may be reported as lost, because the only process with their new tokens was killed."""
    broken: list[str] = field(default_factory=list)
    """Expectations that were not met."""

    def pick(self, quick: int, full: int) -> int:
        """Return the number for the quick or the full run."""
        return quick if self.quick else full

    def log(self, sentence: str) -> None:
        """Print progress."""
        print_line(f"    {sentence}")

    def expect(self, holds: bool, sentence: str) -> None:
        """Record a broken expectation for the verdict, unless it `holds`."""
        if not holds:
            self.broken.append(sentence)
            self.log(f"BROKEN: {sentence}")

    async def replicas(self, shape: Shape) -> list[Replica]:
        """Run the fleet in this shape. All refreshes of a scenario have the same lease."""
        self.lease = shape.lease
        return await self.cluster.fleet.apply(shape)

    async def link(self, count: int, *, seconds_left: float = -1) -> list[Link]:
        """Link accounts whose access tokens have expired, or have `seconds_left`."""
        links = await self.cluster.links.make(count, seconds_left=seconds_left)
        self.links.extend(links)
        return links

    async def link_one(self) -> Link:
        """Link one account, and retry while the database is down."""
        while True:
            try:
                return (await self.link(1))[0]
            except DatabaseUnavailable:
                await asyncio.sleep(0.1)

    async def kill(self, replica: Replica) -> None:
        """Kill a replica with SIGKILL, and count it."""
        self.kills += 1
        await replica.kill()

    async def query_until_final(
        self, link: Link, replicas: Sequence[Replica] = (), *, timeout_seconds: float = 2 * WAIT_TIMEOUT
    ) -> Answer:
        """Query a connection on any of `replicas`, by default all, until the answer is good or final."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            serving = [replica for replica in replicas or self.cluster.fleet.replicas if replica.is_ready]
            answer = await self.cluster.caller.query(self.random.choice(serving), link) if serving else Answer(0)
            if answer.is_good or answer.is_final:
                return answer
            if time.monotonic() > deadline:
                self.expect(False, f"{link.id} did not recover: {answer}")
                return answer
            await asyncio.sleep(min(max(answer.retry_after, 0.1), 1.0))

    async def recover(self, links: Sequence[Link] | None = None) -> list[Answer]:
        """Repair everything, wait for empty spools, and query each connection until its answer is good or final."""
        await self.cluster.postgresql.start()
        await self.cluster.bank.clear_faults()
        await self.cluster.fleet.start_all()
        await until("the spools to empty", lambda: self.cluster.fleet.spooled() == 0)
        return list(
            await asyncio.gather(*(self.query_until_final(link) for link in (self.links if links is None else links)))
        )

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
            # Only the number of unavoidable losses is known, not which connections they are.
            Finding(
                Kind.LOST if number >= self.unavoidable_losses else Kind.REPORTED,
                finding.connection_id,
                finding.sentence,
            )
            for number, finding in enumerate(reported)
        ]

    async def expire(self, link: Link) -> None:
        """Expire an access token, and retry while the database is down."""
        while True:
            try:
                await self.cluster.links.expire(link)
            except DatabaseUnavailable:
                await asyncio.sleep(0.1)
            else:
                return
