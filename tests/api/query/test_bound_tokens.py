"""Tokens that are bound to a key (DPoP, RFC 9449)."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from app.settings import Settings
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.hostile import HostileServer, json_reply
from tests.support.journey import log_in


@pytest.fixture(scope="module")
async def shared(module_brokers: BrokerFactory) -> Broker:
    return await module_brokers(stitch_dpop="on", stitch_par="auto")


@pytest.fixture
async def binding(shared: Broker, bank: SandboxClient) -> Broker:
    """A broker at a bank that requires proofs with a nonce, which the broker does not know yet."""
    await bank.set_faults(dpop="required", dpop_nonces=True, pushed_requests="required")
    await bank.control("rotate-dpop-nonce")
    return shared


@pytest.fixture
async def api(binding: Broker, sign_up: ApiFactory) -> Api:
    return await sign_up(broker=binding)


@pytest.fixture
async def connection_id(binding: Broker, api: Api, bank: SandboxClient) -> str:
    return await link_account(binding, api, bank)


async def link_account(broker: Broker, api: Api, bank: SandboxClient, **wanted: Any) -> str:
    async with broker.new_browser() as browser:
        session, _ = await log_in(api, bank, browser, **wanted)
    assert session["status"] == "completed", session["error"]
    connection_id: str = session["connection_id"]
    return connection_id


async def version_of_response(api: Api, connection_id: str) -> int:
    response = await api.query(connection_id)
    assert response.status_code == 200, response.text
    assert response.json()["data"]["user"]["id"]
    return int(response.headers["broker-token-version"])


async def test_queries_prove_the_key_before_and_after_a_refresh(
    binding: Broker, api: Api, connection_id: str, bank: SandboxClient
) -> None:
    keys = []
    for version in (1, 2, 3):
        assert await version_of_response(api, connection_id) == version
        tokens = (await binding.rows.stored(connection_id)).tokens
        assert tokens is not None
        keys.append(tokens.proof_key)
        await bank.control("expire")
    assert None not in keys
    assert len(set(keys)) == 3


async def test_a_nonce_is_learnt_once_and_then_kept_current(api: Api, connection_id: str, bank: SandboxClient) -> None:
    for _ in range(3):
        assert await version_of_response(api, connection_id) == 1
        await bank.control("rotate-dpop-nonce")
    assert (await bank.ledger()).totals.graphql_requests == {"use_dpop_nonce": 1, "ok": 3}
    await bank.control("rotate-dpop-nonce")
    responses = await asyncio.gather(*(api.query(connection_id) for _ in range(5)))
    assert {response.status_code for response in responses} == {200}
    assert (await bank.ledger()).totals.token_requests["authorization_code"]["ok"] == 1


async def test_a_mutation_without_the_nonce_is_run_once(binding: Broker, api: Api, bank: SandboxClient) -> None:
    connection_id = await link_account(binding, api, bank, scopes=["openid", "paymentinitiationrequest"])
    mutation = (
        'mutation { userInitiatePayment(input: { amount: { quantity: "1.00", currency: "ZAR" } }) '
        "{ paymentInitiation { id } } }"
    )
    assert (await api.query(connection_id, mutation)).json()["data"]
    totals = (await bank.ledger()).totals
    assert totals.payments == 1
    assert totals.graphql_requests == {"use_dpop_nonce": 1, "ok": 1}


async def test_a_bank_that_rejects_its_own_nonce_does_not_cause_a_refresh(
    brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient, hostile: HostileServer
) -> None:
    await bank.set_faults(dpop="required")
    broker = await brokers(stitch_dpop="on", stitch_graphql_url=f"{hostile.url}/graphql")
    api = await sign_up(broker=broker)
    connection_id = await link_account(broker, api, bank)
    hostile.replies["/graphql"] = json_reply(
        {}, 401, dpop_nonce="n", www_authenticate='DPoP algs="ES256", error="use_dpop_nonce"'
    )
    assert (await api.query(connection_id)).status_code == 401
    assert hostile.count("/graphql") == 2
    assert (await api.connection(connection_id))["version"] == 1


async def test_a_bound_token_is_not_handed_out(api: Api, connection_id: str) -> None:
    response = await api.post(f"/v1/connections/{connection_id}/token")
    assert (response.status_code, response.json()["code"]) == (409, "token_bound")


async def test_the_private_key_is_not_readable_anywhere(binding: Broker, api: Api, connection_id: str) -> None:
    tokens = (await binding.rows.stored(connection_id)).tokens
    assert tokens is not None
    assert tokens.proof_key is not None
    private = tokens.proof_key.get_secret_value()
    shown = (await api.get(f"/v1/connections/{connection_id}")).text + (await api.get("/v1/audit")).text
    assert not [part for part in private.split('"') if len(part) == 43 and part in shown]


async def test_a_confirmed_renewal_brings_its_own_key(
    binding: Broker, api: Api, connection_id: str, bank: SandboxClient
) -> None:
    async with binding.new_browser() as browser:
        session, shown = await log_in(
            api,
            bank,
            browser,
            connection_id=connection_id,
            require_confirmation=True,
            return_url="https://shop.example/done",
        )
    code = shown.headers["location"].split("confirmation_code=")[1]
    await api.post(f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": code})
    assert await version_of_response(api, connection_id) == 2


@pytest.mark.parametrize(("before", "after"), [("off", "on"), ("on", "off")])
async def test_a_connection_keeps_its_token_type_when_the_setting_changes(
    brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient, before: str, after: str
) -> None:
    await bank.set_faults(dpop="offered", dpop_nonces=True)
    first = await brokers(stitch_dpop=before)
    api = await sign_up(broker=first)
    connection_id = await link_account(first, api, bank)
    second = await brokers(stitch_dpop=after)
    async with Api(second.url, api.caller, SecretStr(api.api_key)) as elsewhere:
        for version in (1, 2, 3):
            assert await version_of_response(elsewhere, connection_id) == version
            tokens = (await second.rows.stored(connection_id)).tokens
            assert tokens is not None
            assert (tokens.proof_key is not None) is (before == "on")
            await bank.control("expire")


async def test_an_announcement_of_dpop_binds_no_token(
    brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
) -> None:
    """Identity servers announce algorithms by default, in front of APIs that accept only bearer tokens."""
    await bank.set_faults(dpop="offered")
    defaults = {name: Settings.model_fields[name].default for name in ("stitch_par", "stitch_dpop")}
    assert defaults == {"stitch_par": "auto", "stitch_dpop": "off"}
    broker = await brokers(**defaults)
    api = await sign_up(broker=broker)
    connection_id = await link_account(broker, api, bank)
    assert await version_of_response(api, connection_id) == 1
    tokens = (await broker.rows.stored(connection_id)).tokens
    assert tokens is not None
    assert tokens.proof_key is None


@pytest.mark.parametrize(("before", "after"), [("off", "on"), ("on", "off")])
async def test_a_pending_login_can_be_completed_when_the_setting_changes(
    brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient, before: str, after: str
) -> None:
    await bank.set_faults(dpop="offered")
    first, second = await brokers(stitch_dpop=before), await brokers(stitch_dpop=after)
    api = await sign_up(broker=first)
    async with second.new_browser() as browser:
        session, _ = await log_in(api, bank, browser)
    assert session["status"] == "completed", session["error"]
    tokens = (await second.rows.stored(session["connection_id"])).tokens
    assert tokens is not None
    assert (tokens.proof_key is not None) is (before == "on")


async def test_an_unbound_token_is_rejected_if_binding_is_required(
    brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
) -> None:
    broker = await brokers(stitch_dpop="on")
    api = await sign_up(broker=broker)
    async with broker.new_browser() as browser:
        session, _ = await log_in(api, bank, browser)
    assert (session["status"], session["error"]["code"]) == ("failed", "token_not_bound")
