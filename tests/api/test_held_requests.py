"""A request that is begun and held back is no way around the refusal of its caller."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.callers.body_budget import BodyLimits
from app.query.fair_queue import FairQueue
from app.runtime import RuntimeOptions
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.bank import refreshes_at
from tests.support.broker import Api, Broker
from tests.support.eventually import eventually

QUERY = json.dumps({"query": "{ user { id } }"}).encode()
CALLER = json.dumps({"name": "evil", "permissions": ["admin"]}).encode()


@pytest.fixture
async def connection_id(api: Api, broker: Broker, bank: SandboxClient) -> str:
    """A connection of the caller's tenant."""
    return (await broker.rows.link(bank, tenant=api.tenant)).id


@pytest.fixture
async def held(broker: Broker) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Closes what a test has opened."""
    writers: list[asyncio.StreamWriter] = []
    yield writers
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("path", ["graphql", "token", "/v1/callers"])
async def test_a_body_that_comes_after_its_caller_was_disabled_is_refused(
    path: str, api: Api, broker: Broker, connection_id: str, held: list[asyncio.StreamWriter]
) -> None:
    body = {"graphql": QUERY, "token": b"{}"}.get(path, CALLER)
    where = path if path.startswith("/") else f"/v1/connections/{connection_id}/{path}"
    reader, writer = await asyncio.open_connection(*broker.host)
    held.append(writer)
    head = [
        f"POST {where} HTTP/1.1",
        "Host: broker",
        f"Authorization: Bearer {api.api_key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    writer.write("\r\n".join([*head, "", ""]).encode() + body[:1])
    assert (await api.get("/v1/sessions")).status_code == 200
    await asyncio.sleep(0.6)
    await broker.registry.disable(api.caller.id, actor="operator")

    async def is_refused() -> bool:
        return (await api.get("/v1/sessions")).status_code == 401

    await eventually(is_refused)
    writer.write(body[1:])
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 401 ")


def beginning(api: Api, connection_id: str, length: int) -> bytes:
    """Return the head of a query."""
    fields = ("Host: b", f"Authorization: Bearer {api.api_key}", f"Content-Length: {length}")
    head = (f"POST /v1/connections/{connection_id}/graphql HTTP/1.1", "Content-Type: application/json", *fields)
    return "\r\n".join([*head, "", ""]).encode()


async def test_half_sent_bodies_fill_only_so_much_memory(
    brokers: BrokerFactory,
    sign_up: ApiFactory,
    bank: SandboxClient,
    held: list[asyncio.StreamWriter],
) -> None:
    limits = BodyLimits(total=1_000_000, per_tenant=400_000)
    broker = await brokers(options=RuntimeOptions(body_limits=limits))
    greedy, other = await sign_up(broker=broker), await sign_up(broker=broker)
    connection = await broker.rows.link(bank, tenant=greedy.tenant)
    answers = []
    for _ in range(8):
        reader, writer = await asyncio.open_connection(*broker.host)
        held.append(writer)
        answers.append(asyncio.create_task(reader.readline()))
        writer.write(beginning(greedy, connection.id, 200_000) + b" " * 100_000)

    async def are_refused() -> bool:
        return sum(answer.done() for answer in answers) >= 4

    await eventually(are_refused)
    assert {answer.result() for answer in answers if answer.done()} == {b"HTTP/1.1 429 Too Many Requests\r\n"}
    foreign = await broker.rows.link(bank, tenant=other.tenant)
    long = await other.query(foreign.id, "{ user { id } } #" + "x" * 200_000)
    assert long.status_code == 200
    for writer in held:
        writer.close()
    await asyncio.gather(*answers, return_exceptions=True)

    async def is_free_again() -> bool:
        answer = await greedy.query(connection.id, "{ user { id } } #" + "x" * 200_000)
        return answer.status_code == 200

    await eventually(is_free_again)


async def test_a_body_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
    api: Api,
    broker: Broker,
    connection_id: str,
    held: list[asyncio.StreamWriter],
) -> None:
    monkeypatch.setattr("app.api.query.body._BODY_TIMEOUT", 0.2)
    for sent in (b"", b"{"):
        reader, writer = await asyncio.open_connection(*broker.host)
        held.append(writer)
        writer.write(beginning(api, connection_id, 100) + sent)
        answer = await asyncio.wait_for(reader.read(4_096), 20)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"reason":"request_too_slow"' in answer.replace(b": ", b":")


@pytest.mark.parametrize("path", ["graphql", "token", "refresh"])
async def test_who_was_refused_while_the_bank_was_waited_for_gets_nothing(
    path: str, api: Api, broker: Broker, bank: SandboxClient
) -> None:
    connection = await broker.rows.link(bank, tenant=api.tenant, seconds_left=-1)
    await bank.set_faults(token={"delay_after": 1.5})
    body = QUERY if path == "graphql" else b"{}"
    asking = asyncio.create_task(
        api.post(f"/v1/connections/{connection.id}/{path}", content=body, headers={"content-type": "application/json"})
    )

    async def is_at_the_bank() -> bool:
        return await refreshes_at(bank) == 1

    await eventually(is_at_the_bank)
    await broker.registry.disable(api.caller.id, actor="operator")
    assert (await asking).status_code == 401
    assert (await broker.rows.stored(connection.id)).connection.version == 2
    assert (await bank.ledger()).totals.graphql_requests == {}


async def test_who_was_refused_while_others_documents_were_looked_into_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, sign_up: ApiFactory, brokers: BrokerFactory, bank: SandboxClient
) -> None:
    may_end = threading.Event()

    class SlowQueue(FairQueue):
        @asynccontextmanager
        async def turn(self, tenant: str, caller_id: str) -> AsyncIterator[None]:
            await asyncio.to_thread(may_end.wait, 20)
            async with super().turn(tenant, caller_id):
                yield

    monkeypatch.setattr("app.query.mutations.FairQueue", SlowQueue)
    broker = await brokers()
    api = await sign_up(broker=broker, permissions=["graphql:query"])
    connection = await broker.rows.link(bank, tenant=api.tenant)
    asking = asyncio.create_task(api.query(connection.id))
    await asyncio.sleep(0.6)
    await broker.registry.disable(api.caller.id, actor="operator")
    may_end.set()
    assert (await asking).status_code == 401
    assert (await bank.ledger()).totals.graphql_requests == {}
