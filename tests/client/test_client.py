"""The typed Python client, against a running broker and bank."""

import json
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from broker_client import AsyncBroker, BrokerError
from broker_client import Broker as SyncBroker
from broker_client.generated.api.link_an_account import cancel_session, list_sessions
from broker_client.generated.api.use_a_connection import disconnect, get_connection
from sandbox.client import SandboxClient
from tests.support.broker import Api, Broker, Browser
from tests.support.journey import go_to_bank
from tests.support.openapi import openapi_document

OPENAPI = Path("client/openapi.json")
ACCOUNTS = "{ user { ... on User { bankAccounts { name } } } }"
PAYMENT = (
    "mutation { userInitiatePayment(input: { amount: { quantity: 2000, currency: ZAR },"
    ' payerReference: "a", beneficiaryReference: "b", externalReference: "c" }) { __typename } }'
)


@pytest.fixture
async def client(broker: Broker, api: Api) -> AsyncIterator[AsyncBroker]:
    async with AsyncBroker(broker.url, api.api_key) as client:
        yield client


async def link(client: AsyncBroker, bank: SandboxClient, browser: Browser, user_id: str = "user-1") -> str:
    session = await client.start_session(user_id)
    await browser.open(await go_to_bank(bank, browser, session.to_dict()))
    ended = await client.wait_for_session(session.id)
    assert ended.status == "completed"
    assert ended.connection_id is not None
    return ended.connection_id


def test_the_openapi_document_of_the_client_is_current() -> None:
    assert json.loads(OPENAPI.read_text()) == openapi_document(), "run make client and commit the changes"


async def test_an_account_is_linked_and_queried(client: AsyncBroker, bank: SandboxClient, browser: Browser) -> None:
    connection_id = await link(client, bank, browser)
    answer = await client.query(connection_id, ACCOUNTS)
    assert answer.data is not None
    assert len(answer.data["user"]["bankAccounts"]) == 3
    assert answer.token_version == 1
    connection = await client.call(get_connection.asyncio_detailed, connection_id)
    assert connection.status == "active"
    assert await client.call(disconnect.asyncio_detailed, connection_id) is None
    with pytest.raises(BrokerError) as rejected:
        await client.query(connection_id, ACCOUNTS)
    assert (rejected.value.status, rejected.value.code) == (409, "CONNECTION_REVOKED")


async def test_the_synchronous_client_links_and_queries(
    client: AsyncBroker, broker: Broker, api: Api, bank: SandboxClient, browser: Browser
) -> None:
    connection_id = await link(client, bank, browser)
    with SyncBroker(broker.url, api.api_key) as sync:
        answer = sync.query(connection_id, "query($n: UInt) { user { id } }", {"n": 1}, operation_name=None)
        assert answer.token_version == 1
        assert sync.call(get_connection.sync_detailed, connection_id).version == 1
        session = sync.start_session("user-2", metadata={"order": "1"}, idempotency_key="k")
        assert session.metadata.to_dict() == {"order": "1"}
        assert sync.start_session("user-2", metadata={"order": "1"}, idempotency_key="k").id == session.id
        with pytest.raises(TimeoutError, match="still pending"):
            sync.wait_for_session(session.id, seconds=0)
        sync.call(cancel_session.sync_detailed, session.id)
        assert sync.wait_for_session(session.id).status == "cancelled"


async def test_pages_returns_all_items_of_a_list(client: AsyncBroker, broker: Broker, api: Api) -> None:
    started = {(await client.start_session("user-3")).id for _ in range(3)}
    listed = {session.id async for session in client.pages(list_sessions.asyncio_detailed, user_id="user-3", limit=1)}
    assert listed == started
    with SyncBroker(broker.url, api.api_key) as sync:
        assert {session.id for session in sync.pages(list_sessions.sync_detailed, user_id="user-3", limit=2)} == started


async def test_an_error_says_what_to_do(client: AsyncBroker, broker: Broker) -> None:
    with pytest.raises(BrokerError, match="return_url") as rejected:
        await client.start_session("user-1", return_url="https://elsewhere.example/")
    assert (rejected.value.status, rejected.value.code) == (422, "return_url_not_allowed")
    assert rejected.value.request_id
    with closing(SyncBroker(broker.url, "brk_wrong")) as unauthorized, pytest.raises(BrokerError) as unknown:
        unauthorized.query("con_1", ACCOUNTS)
    assert (unknown.value.status, unknown.value.code) == (401, "UNAUTHORIZED_CALLER")


async def test_an_error_that_is_not_from_the_api_is_raised_too(broker: Broker, api: Api) -> None:
    async with AsyncBroker(f"{broker.url}/static", api.api_key) as client:
        with pytest.raises(BrokerError) as rejected:
            await client.start_session("user-1")
    assert rejected.value.status in (404, 405)


async def test_an_approval_that_the_bank_requires_is_returned(
    client: AsyncBroker, broker: Broker, api: Api, bank: SandboxClient
) -> None:
    connection = await broker.rows.link(bank, tenant=api.tenant)
    answer = await client.query(connection.id, PAYMENT)
    assert answer.errors
    assert answer.interaction is not None
    assert answer.interaction.url.startswith("http")


async def test_a_key_with_a_trailing_newline_is_accepted(broker: Broker, api: Api) -> None:
    async with AsyncBroker(broker.url, f"{api.api_key}\n") as client:
        assert (await client.start_session("user-1")).status == "pending"


@pytest.mark.parametrize("key", ["", " \n", "brk_plan ted", "brk_planted\x00", "brk_plänted"])
@pytest.mark.parametrize("client_class", [SyncBroker, AsyncBroker])
def test_an_invalid_key_is_rejected_and_not_shown(client_class: type[SyncBroker | AsyncBroker], key: str) -> None:
    with pytest.raises(ValueError, match="api_key") as rejected:
        client_class("http://127.0.0.1:9", key)
    assert "brk_" not in str(rejected.value)
