"""After a whole journey, none of its secrets can be read anywhere."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import JsonValue, SecretStr
from sqlalchemy import text

from app.base.encryption import Ciphertext, KeyRing
from app.store.postgresql.columns import Encrypted
from app.store.postgresql.database_time import seconds_from_now
from app.store.session_secrets import session_associated_data
from app.store.tables import metadata
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_SECRET
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import ENCRYPTION_KEY, Api, Broker, Browser
from tests.support.collector import Collector
from tests.support.hostile import HostileServer, json_reply
from tests.support.journey import go_to_bank, log_in, parameters_of
from tests.support.logs import Logs


class SecretSearch:
    """Collects secrets, and every text that must not contain them."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def assert_no_secret_is_found(self, *, at_least: int = 10) -> None:
        """Search every text for every secret."""
        assert len(self.secrets) >= at_least
        assert all(len(value) >= 6 for value in self.secrets.values())
        leaks = [
            f"{name} in {place}"
            for place, content in self.texts.items()
            for name, value in self.secrets.items()
            if value in content or json.dumps(value)[1:-1] in content
        ]
        assert leaks == []


async def plain_columns(broker: Broker) -> str:
    """Return the content of all columns that are not encrypted."""
    content = []
    async with broker.database.transaction() as transaction:
        for table in metadata.sorted_tables:
            plain = [column.name for column in table.columns if not isinstance(column.type, Encrypted)]
            rows = await transaction.execute(text(f"SELECT {', '.join(plain)} FROM {table.name}"))
            content += [f"{table.name}: {row}" for row in rows]
    return "\n".join(content)


async def everything_stored(broker: Broker) -> str:
    """Return the content of every table, including ciphertexts."""
    content = []
    async with broker.database.transaction() as transaction:
        names = (
            await transaction.execute(
                text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
            )
        ).scalars()
        for name in list(names):
            rows = await transaction.execute(text(f'SELECT t::text FROM "{name}" t'))
            content += [f"{name}: {row}" for row in rows.scalars()]
    return "\n".join(content)


@pytest.fixture
async def own_broker(brokers: BrokerFactory, database_url: SecretStr, collected: Collector) -> Broker:
    """A broker with its own database, all of which is searched."""
    return await brokers(database_url=database_url)


@pytest.fixture
async def own_api(own_broker: Broker, sign_up: ApiFactory) -> Api:
    """A caller of `own_broker`."""
    return await sign_up(broker=own_broker)


@pytest.fixture
async def own_browser(own_broker: Broker) -> AsyncIterator[Browser]:
    """A browser for `own_broker`."""
    async with own_broker.new_browser() as browser:
        yield browser


async def tokens_of(broker: Broker, connection_id: str) -> dict[str, str]:
    """Return the decrypted tokens of a connection."""
    tokens = (await broker.rows.stored(connection_id)).tokens
    assert tokens is not None
    assert tokens.refresh_token is not None
    return {
        "access token": tokens.access_token.get_secret_value(),
        "refresh token": tokens.refresh_token.get_secret_value(),
    }


async def test_no_secret_of_a_whole_journey_is_readable_anywhere(
    *,
    own_broker: Broker,
    own_api: Api,
    own_browser: Browser,
    bank: SandboxClient,
    logs: Logs,
    collected: Collector,
    tmp_path: Any,
) -> None:
    api, browser, search = own_api, own_browser, SecretSearch()

    def keep(place: str, content: str) -> None:
        search.texts[place] = content

    search.secrets |= {"API key": api.api_key, "secret of the API key": api.api_key[17:]}
    search.secrets |= {"client secret": CLIENT_SECRET, "encryption key": ENCRYPTION_KEY}
    further = (await api.post(f"/v1/callers/{api.caller.id}/keys")).json()["api_key"]
    search.secrets["further API key"] = further

    created = (await api.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/events"})).json()
    search.secrets["webhook's first secret"] = created["secret"]
    rotated = (await api.post(f"/v1/webhooks/{created['id']}/secret")).json()
    search.secrets["webhook's secret"] = rotated["secret"]

    # A login with confirmation, step by step, to collect each of its secrets.
    session = await api.start(require_confirmation=True, return_url="https://shop.example/done")
    parameters = parameters_of(session["authorization_url"])
    search.secrets |= {"state": parameters["state"], "nonce": parameters["nonce"]}
    search.secrets["ticket"] = session["connect_url"].rpartition("/")[2]
    async with own_broker.database.transaction() as transaction:
        sealed = (
            await transaction.execute(text("SELECT code_verifier FROM stitch_authorization_requests"))
        ).scalar_one()
    ring = KeyRing.parse(own_broker.settings.encryption_keys.get_secret_value())
    verifier = ring.decrypt(Ciphertext(sealed), session_associated_data("code_verifier", session["id"]))
    search.secrets["verifier"] = verifier.get_secret_value()
    keep("database, login pending", await everything_stored(own_broker))
    location = await go_to_bank(bank, browser, session)
    search.secrets["code"] = parameters_of(location)["code"]
    search.secrets["browser's cookie"] = next(iter(browser.cookies.jar)).value or ""
    shown = await browser.open(location)
    search.secrets["confirmation code"] = parameters_of(shown.headers["location"])["confirmation_code"]
    connection_id = (await api.session(session["id"]))["connection_id"]
    first = await tokens_of(own_broker, connection_id)
    search.secrets |= first
    keep("database, awaiting confirmation", await everything_stored(own_broker))
    wrong = await api.post(f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": "planted-wrong-code"})
    search.secrets["wrong confirmation code"] = "planted-wrong-code"
    keep("refused confirmation", wrong.text)
    code = search.secrets["confirmation code"]
    confirmed = await api.post(f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": code})
    keep("confirmed session", confirmed.text)
    keep("second callback", (await browser.open(location)).text)
    keep("used link", (await browser.open(session["connect_url"])).text)

    # Queries, expiry, refresh and failures.
    assert (await api.query(connection_id)).json()["data"]
    await bank.control("expire")
    keep("query", (await api.query(connection_id)).text)
    second = await tokens_of(own_broker, connection_id)
    search.secrets |= {f"second {name}": value for name, value in second.items()}
    assert not set(first.values()) & set(second.values())
    handed_out = (await api.post(f"/v1/connections/{connection_id}/token")).json()
    assert handed_out["access_token"] == second["access token"]
    faults: tuple[JsonValue, ...] = ({"status": 503}, {"garbage": True}, {"error": "invalid_client"})
    for fault in faults:
        await bank.set_faults(token=fault)
        keep(f"refresh, fault {fault}", (await api.post(f"/v1/connections/{connection_id}/refresh")).text)
        await own_broker.rows.allow_another_refresh(connection_id)
    await bank.set_faults(token={"claims": {"nonce": "another"}})
    failed, page = await log_in(api, bank, browser)
    assert failed["status"] == "failed"
    keep("failed login", page.text + json.dumps(failed))
    await bank.set_faults(token=None, graphql={"half_answer": True, "times": 1})
    keep("query, response broken", (await api.query(connection_id)).text)
    for authorization in (f"Bearer {api.api_key}x", f"Basic {api.api_key}", api.api_key):
        refused = await api.get("/v1/connections", headers={"authorization": authorization})
        assert refused.status_code == 401
        keep(f"refusal {len(search.texts)}", refused.text + str(refused.headers))
    forged = await browser.get("/callback", params={"state": parameters["state"] + "x", "code": search.secrets["code"]})
    keep("unknown state", forged.text)
    keep("database, linked", await everything_stored(own_broker))
    keep("spool", "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file()))

    request = {"interaction_url": f"{own_broker.settings.stitch_issuer}/approval?id=x", "interaction_id": "x"}
    interaction = (await api.post(f"/v1/connections/{connection_id}/interactions", json=request)).json()
    search.secrets["interaction's ticket"] = interaction["connect_url"].rpartition("/")[2]
    known = {cookie.value for cookie in browser.cookies.jar}
    assert (await browser.open(interaction["connect_url"])).status_code == 303
    [search.secrets["interaction's cookie"]] = {cookie.value or "" for cookie in browser.cookies.jar} - known
    keep("return from the interaction", (await browser.get("/connect/interactions")).text)

    await api.delete(f"/v1/connections/{connection_id}")
    expired = await api.start(user_id="late")
    await own_broker.rows.change_session(expired["id"], expires_at=seconds_from_now(-1))
    keep("expired link", (await browser.open(expired["connect_url"])).text)
    for path in (
        "/v1/sessions",
        "/v1/connections",
        "/v1/audit?limit=200",
        "/v1/callers",
        "/v1/webhooks",
        f"/v1/webhooks/{created['id']}/deliveries?limit=200",
        "/metrics",
        "/readyz",
        "/openapi.json",
    ):
        keep(path, (await api.get(path)).text)
    keep("keys", (await api.get(f"/v1/callers/{api.caller.id}/keys")).text)
    keep("database", await everything_stored(own_broker))
    keep("plain columns", await plain_columns(own_broker))
    keep("logs", logs.text)
    assert len(logs.with_event("request")) > 20
    await collected.wait_for_request((await api.get("/v1/callers")).headers["x-request-id"])
    keep("traces", collected.text)
    assert len(collected.spans) > 200
    # The list contains the link of the session that is still pending. It is not among the secrets.
    search.assert_no_secret_is_found()


async def test_no_secret_of_pushed_requests_and_bound_tokens_is_readable_anywhere(
    brokers: BrokerFactory, database_url: SecretStr, sign_up: ApiFactory, bank: SandboxClient, logs: Logs
) -> None:
    await bank.set_faults(pushed_requests="required", dpop="required", dpop_nonces=True)
    broker, search = await brokers(database_url=database_url, stitch_par="auto", stitch_dpop="on"), SecretSearch()
    ring = KeyRing.parse(broker.settings.encryption_keys.get_secret_value())
    api = await sign_up(broker=broker)

    def private_part(key: SecretStr) -> str:
        part: str = json.loads(key.get_secret_value())["d"]
        return part

    async def private_key_of(connection_id: str) -> str:
        tokens = (await broker.rows.stored(connection_id)).tokens
        assert tokens is not None
        assert tokens.proof_key is not None
        return private_part(tokens.proof_key)

    session = await api.start()
    async with broker.database.transaction() as transaction:
        columns = "SELECT pushed_parameters, proof_key FROM stitch_authorization_requests"
        pushed, sealed = (await transaction.execute(text(columns))).one()
    pushed_parameters = ring.decrypt(Ciphertext(pushed), session_associated_data("pushed_parameters", session["id"]))
    parameters = parameters_of(f"?{pushed_parameters.get_secret_value()}")
    search.secrets |= {"state": parameters["state"], "nonce": parameters["nonce"]}
    login_key = ring.decrypt(Ciphertext(sealed), session_associated_data("proof_key", session["id"]))
    search.secrets["key of the login"] = private_part(login_key)
    search.texts["database, login pending"] = await everything_stored(broker)
    async with broker.new_browser() as browser:
        await browser.open(await go_to_bank(bank, browser, session))
    linked = await api.session(session["id"])
    connection_id = linked["connection_id"]
    assert await private_key_of(connection_id) == search.secrets["key of the login"]
    search.texts["query"] = (await api.query(connection_id)).text
    await bank.control("expire")
    search.texts["query, expired"] = (await api.query(connection_id)).text
    search.secrets["key of the refreshed token"] = await private_key_of(connection_id)
    search.texts["token"] = (await api.post(f"/v1/connections/{connection_id}/token")).text
    search.texts["session"] = json.dumps(linked)
    search.texts["database"] = await everything_stored(broker)
    search.texts["metrics"] = (await api.get("/metrics")).text
    search.texts["logs"] = logs.text
    search.assert_no_secret_is_found(at_least=4)


async def test_digests_of_secrets_are_not_shown_either(
    own_broker: Broker, own_api: Api, own_browser: Browser, bank: SandboxClient, logs: Logs
) -> None:
    await log_in(own_api, bank, own_browser)
    async with own_broker.database.transaction() as transaction:
        digests = (
            await transaction.execute(
                text(
                    "SELECT stitch_state, nonce_digest, ticket_digest, browser_digest, keyed_hash "
                    "FROM stitch_authorization_requests, api_keys"
                )
            )
        ).one()
    shown = logs.text
    for path in ("/v1/sessions", "/v1/connections", "/v1/audit", "/v1/callers", "/metrics"):
        shown += (await own_api.get(path)).text
    for digest in digests:
        assert re.fullmatch(r"[0-9a-f]{64}", digest)
        assert digest not in shown


async def test_the_content_of_a_query_is_not_logged(
    proxy: Broker, sign_up: ApiFactory, upstream: HostileServer, logs: Logs
) -> None:
    api = await sign_up(broker=proxy)
    connection = await proxy.rows.insert(tenant=api.tenant)
    upstream.replies["/graphql"] = json_reply({"data": {"planted": "planted-response"}})
    await api.query(
        connection.id, "{ planted_query }", variables={"x": "planted-variable"}, headers={"cookie": "planted=cookie"}
    )
    upstream.replies["/graphql"] = json_reply({"errors": ["planted-error"]}, 500)
    await api.query(connection.id, "mutation { planted_mutation }")
    assert len(await logs.access_lines(2)) == 2
    assert "planted" not in logs.text
    assert "an access token" not in logs.text
