"""A caller that is disabled during a request is rejected, however long the request was delayed."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.callers.admission import ADMISSION_LIFETIME_SECONDS
from app.query.fair_queue import FairQueue
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.bank import refreshes_at
from tests.support.broker import Api, Broker
from tests.support.eventually import eventually

QUERY = json.dumps({"query": "{ user { id } }"}).encode()
CALLER = json.dumps({"name": "evil", "permissions": ["admin"]}).encode()


@pytest.mark.parametrize("path", ["graphql", "token", "/v1/callers"])
async def test_a_body_that_arrives_after_its_caller_was_disabled_is_rejected(
    path: str, api: Api, broker: Broker, connection_id: str, open_writers: list[asyncio.StreamWriter]
) -> None:
    body = {"graphql": QUERY, "token": b"{}"}.get(path, CALLER)
    url = path if path.startswith("/") else f"/v1/connections/{connection_id}/{path}"
    reader, writer = await asyncio.open_connection(*broker.host)
    open_writers.append(writer)
    head = [
        f"POST {url} HTTP/1.1",
        "Host: broker",
        f"Authorization: Bearer {api.api_key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    writer.write("\r\n".join([*head, "", ""]).encode() + body[:1])
    assert (await api.get("/v1/sessions")).status_code == 200
    await asyncio.sleep(ADMISSION_LIFETIME_SECONDS)
    await broker.registry.disable(api.caller.id, actor="operator")

    async def is_refused() -> bool:
        return (await api.get("/v1/sessions")).status_code == 401

    await eventually(is_refused)
    writer.write(body[1:])
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["graphql", "token", "refresh"])
async def test_a_caller_that_is_disabled_while_the_bank_is_asked_gets_nothing(
    path: str, api: Api, broker: Broker, bank: SandboxClient
) -> None:
    connection = await broker.rows.link(bank, tenant=api.tenant, seconds_left=-1)
    await bank.set_faults(token={"delay_after": 1.5})
    body = QUERY if path == "graphql" else b"{}"
    request = asyncio.create_task(
        api.post(f"/v1/connections/{connection.id}/{path}", content=body, headers={"content-type": "application/json"})
    )

    async def is_at_the_bank() -> bool:
        return await refreshes_at(bank) == 1

    await eventually(is_at_the_bank)
    await broker.registry.disable(api.caller.id, actor="operator")
    assert (await request).status_code == 401
    assert (await broker.rows.stored(connection.id)).connection.version == 2
    assert (await bank.ledger()).totals.graphql_requests == {}


async def test_a_caller_that_is_disabled_while_its_query_waits_to_be_parsed_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, sign_up: ApiFactory, brokers: BrokerFactory, bank: SandboxClient
) -> None:
    is_waiting, may_continue = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class SlowQueue(FairQueue):
        @asynccontextmanager
        async def turn(self, tenant: str, caller_id: str) -> AsyncIterator[None]:
            # The broker runs in a thread of its own.
            loop.call_soon_threadsafe(is_waiting.set)
            await asyncio.to_thread(may_continue.wait, 20)
            async with super().turn(tenant, caller_id):
                yield

    monkeypatch.setattr("app.query.mutations.FairQueue", SlowQueue)
    broker = await brokers()
    api = await sign_up(broker=broker, permissions=["graphql:query"])
    connection = await broker.rows.link(bank, tenant=api.tenant)
    request = asyncio.create_task(api.query(connection.id))
    await asyncio.wait_for(is_waiting.wait(), 20)
    await asyncio.sleep(ADMISSION_LIFETIME_SECONDS)
    await broker.registry.disable(api.caller.id, actor="operator")
    may_continue.set()
    assert (await request).status_code == 401
    assert (await bank.ledger()).totals.graphql_requests == {}
