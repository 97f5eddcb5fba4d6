"""Opening a link whose request is pushed (RFC 9126) spends little of the broker's rate limit at the bank."""

import asyncio

import pytest

from app.errors import BankError
from app.login.connect_links import PUSH_INTERVAL, OpenedLink
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.clock import AdjustableClock
from tests.support.replica import Replica


@pytest.fixture
async def pushing(replicas: ReplicaFactory, bank: SandboxClient) -> Replica:
    await bank.set_faults(pushed_requests="required")
    return await replicas()


async def new_ticket(replica: Replica) -> str:
    """Start a login and return the ticket of its link."""
    connect_url = replica.login.sessions.links(await replica.start_login()).connect_url
    assert connect_url is not None
    return connect_url.rpartition("/")[2]


async def open_link(replica: Replica, ticket: str, browser: str | None = None) -> OpenedLink:
    opened = await replica.login.connect_links.open(ticket, lambda _login: browser)
    assert isinstance(opened, OpenedLink)
    return opened


async def pushes(bank: SandboxClient) -> int:
    """Count the pushed requests, including those that a fault answered."""
    totals = (await bank.ledger()).totals
    return totals.pushed_requests + totals.answered_by_fault.get("par", 0)


async def test_a_link_is_pushed_once_per_interval_however_often_it_is_opened(
    pushing: Replica, bank: SandboxClient, clock: AdjustableClock
) -> None:
    ticket = await new_ticket(pushing)
    before = await pushes(bank)
    first = await open_link(pushing, ticket)
    again = await asyncio.gather(*(open_link(pushing, ticket, first.browser) for _ in range(20)))
    assert {opened.bank_url for opened in again} == {first.bank_url}
    assert await pushes(bank) == before + 1
    # Other links are pushed at once, and this one again after the interval: the bank may have used the first request.
    other = await open_link(pushing, await new_ticket(pushing))
    clock.advance(PUSH_INTERVAL)
    later = await open_link(pushing, ticket, first.browser)
    assert len({opened.bank_url for opened in (first, other, later)}) == 3


async def test_after_a_failed_push_the_bank_gets_none_for_the_same_interval(
    pushing: Replica, bank: SandboxClient, clock: AdjustableClock
) -> None:
    ticket = await new_ticket(pushing)
    await bank.set_faults(par={"status": 429})
    before = await pushes(bank)
    for _ in range(10):
        with pytest.raises(BankError):
            await open_link(pushing, ticket)
    assert await pushes(bank) == before + 1
    await bank.set_faults(par=None)
    clock.advance(PUSH_INTERVAL)
    assert (await open_link(pushing, ticket)).bank_url
