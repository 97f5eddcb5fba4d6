"""The body of a query: the time it may take, and the memory for incomplete bodies."""

import asyncio
import json

from app.callers.body_budget import BodyLimits
from app.runtime import RuntimeOptions
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api
from tests.support.eventually import eventually

QUERY = json.dumps({"query": "{ user { id } }"}).encode()


def head_of_query(api: Api, connection_id: str, length: int) -> bytes:
    """Return the head of a query whose body has `length` bytes."""
    fields = ("Host: b", f"Authorization: Bearer {api.api_key}", f"Content-Length: {length}")
    head = (f"POST /v1/connections/{connection_id}/graphql HTTP/1.1", "Content-Type: application/json", *fields)
    return "\r\n".join([*head, "", ""]).encode()


async def test_the_memory_for_incomplete_bodies_is_limited(
    brokers: BrokerFactory,
    sign_up: ApiFactory,
    bank: SandboxClient,
    open_writers: list[asyncio.StreamWriter],
) -> None:
    limits = BodyLimits(total=1_000_000, per_tenant=400_000)
    broker = await brokers(options=RuntimeOptions(body_limits=limits))
    caller, other = await sign_up(broker=broker), await sign_up(broker=broker)
    connection = await broker.rows.link(bank, tenant=caller.tenant)
    responses = []
    for _ in range(8):
        reader, writer = await asyncio.open_connection(*broker.host)
        open_writers.append(writer)
        responses.append(asyncio.create_task(reader.readline()))
        writer.write(head_of_query(caller, connection.id, 200_000) + b" " * 100_000)

    async def are_refused() -> bool:
        return sum(response.done() for response in responses) >= 4

    await eventually(are_refused)
    assert {response.result() for response in responses if response.done()} == {b"HTTP/1.1 429 Too Many Requests\r\n"}
    foreign = await broker.rows.link(bank, tenant=other.tenant)
    long = await other.query(foreign.id, "{ user { id } } #" + "x" * 200_000)
    assert long.status_code == 200
    for writer in open_writers:
        writer.close()
    await asyncio.gather(*responses, return_exceptions=True)

    async def memory_is_released() -> bool:
        response = await caller.query(connection.id, "{ user { id } } #" + "x" * 200_000)
        return response.status_code == 200

    await eventually(memory_is_released)


async def test_a_body_must_arrive_within_a_time_limit(
    brokers: BrokerFactory, sign_up: ApiFactory, open_writers: list[asyncio.StreamWriter]
) -> None:
    broker = await brokers(options=RuntimeOptions(body_limits=BodyLimits(timeout_seconds=0.2)))
    api = await sign_up(broker=broker)
    connection_id = (await broker.rows.insert(tenant=api.tenant)).id
    for sent in (b"", b"{"):
        reader, writer = await asyncio.open_connection(*broker.host)
        open_writers.append(writer)
        writer.write(head_of_query(api, connection_id, 100) + sent)
        response = await asyncio.wait_for(reader.read(4_096), 20)
        assert response.startswith(b"HTTP/1.1 408 ")
        assert b'"reason":"request_too_slow"' in response.replace(b": ", b":")
