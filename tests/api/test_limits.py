"""What one caller may ask of one replica."""

import asyncio

from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_graphql_refusal, assert_problem
from tests.support.broker import Api
from tests.support.eventually import eventually
from tests.support.upstream import answering


async def test_a_caller_that_asks_too_often_is_told_when_to_come_back(
    brokers: BrokerFactory, sign_up: ApiFactory
) -> None:
    broker = await brokers(caller_rate=1)
    api = await sign_up(broker=broker)
    other = await sign_up(broker=broker, tenant=api.tenant)
    answers = await asyncio.gather(*(api.query("con_unknown") for _ in range(20)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 15
    for answer in refused:
        extensions = assert_graphql_refusal(answer, 429, "RATE_LIMITED")
        assert extensions["reason"] == "rate_limited"
        assert int(answer.headers["retry-after"]) == extensions["retry_after"] == 1
    answer = await api.get("/v1/connections")
    assert_problem(answer, 429, "rate_limited")
    assert answer.headers["retry-after"] == "1"
    assert (await other.get("/v1/connections")).status_code == 200


async def test_a_caller_has_so_many_requests_under_way_and_no_more(brokers: BrokerFactory, sign_up: ApiFactory) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")

    async with answering(answer) as url:
        broker = await brokers(caller_concurrency=1, stitch_graphql_url=url)
        api: Api = await sign_up(broker=broker)
        other = await sign_up(broker=broker, tenant=api.tenant)
        connection = await broker.rows.insert(tenant=api.tenant)
        query = asyncio.create_task(api.query(connection.id))
        await asked.wait()
        # A refused request must not free the place of the one under way.
        for _ in range(3):
            assert_graphql_refusal(await api.query(connection.id), 429, "RATE_LIMITED")
            assert_problem(await api.get("/v1/connections"), 429, "rate_limited")
        assert (await other.get("/v1/connections")).status_code == 200
        go_on.set()
        assert (await query).status_code == 200

        async def is_let_in_again() -> bool:
            return (await api.get("/v1/connections")).status_code == 200

        await eventually(is_let_in_again)
