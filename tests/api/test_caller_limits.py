"""The rate and the number of concurrent requests of a caller, on one replica."""

import asyncio

from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api
from tests.support.error_responses import assert_graphql_error, assert_problem
from tests.support.eventually import eventually
from tests.support.upstream import answering


async def test_a_caller_that_exceeds_its_rate_is_told_when_to_retry(
    brokers: BrokerFactory, sign_up: ApiFactory
) -> None:
    broker = await brokers(caller_rate=1)
    api = await sign_up(broker=broker)
    other = await sign_up(broker=broker, tenant=api.tenant)
    responses = await asyncio.gather(*(api.query("con_unknown") for _ in range(20)))
    refused = [response for response in responses if response.status_code == 429]
    assert len(refused) >= 15
    for response in refused:
        extensions = assert_graphql_error(response, 429, "RATE_LIMITED")
        assert extensions["reason"] == "rate_limited"
        assert int(response.headers["retry-after"]) == extensions["retry_after"] == 1
    response = await api.get("/v1/connections")
    assert_problem(response, 429, "rate_limited")
    assert response.headers["retry-after"] == "1"
    assert (await other.get("/v1/connections")).status_code == 200


async def test_the_concurrent_requests_of_a_caller_are_limited(brokers: BrokerFactory, sign_up: ApiFactory) -> None:
    received, may_continue = asyncio.Event(), asyncio.Event()

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set()
        await may_continue.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")

    async with answering(respond) as url:
        broker = await brokers(caller_concurrency=1, stitch_graphql_url=url)
        api: Api = await sign_up(broker=broker)
        other = await sign_up(broker=broker, tenant=api.tenant)
        connection = await broker.rows.insert(tenant=api.tenant)
        query = asyncio.create_task(api.query(connection.id))
        await received.wait()
        # A rejected request must not release the slot of the one in progress.
        for _ in range(3):
            assert_graphql_error(await api.query(connection.id), 429, "RATE_LIMITED")
            assert_problem(await api.get("/v1/connections"), 429, "rate_limited")
        assert (await other.get("/v1/connections")).status_code == 200
        may_continue.set()
        assert (await query).status_code == 200

        async def is_admitted_again() -> bool:
            return (await api.get("/v1/connections")).status_code == 200

        await eventually(is_admitted_again)
