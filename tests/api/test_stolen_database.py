"""What a thief can do with read or write access to the database, but without the encryption keys."""

import hashlib
import io
import re

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.base.encryption import Ciphertext, KeyRing
from app.errors import DecryptionError
from app.store.connections import get_connection_with_tokens
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.error_responses import assert_graphql_error, assert_problem
from tests.support.journey import go_to_bank, log_in, parameters_of

_OTHER_KEYS = KeyRing({"test": bytes(32), "other": bytes(range(32, 64))})


@pytest.fixture
async def own_broker(brokers: BrokerFactory, database_url: SecretStr) -> Broker:
    """A broker with its own database, which is stolen."""
    return await brokers(database_url=database_url)


@pytest.fixture
async def victim(own_broker: Broker, sign_up: ApiFactory) -> Api:
    """The caller whose data is stolen."""
    return await sign_up(broker=own_broker)


async def dump(broker: Broker) -> dict[str, str]:
    """Return every table as `pg_dump` writes it, in the text form of COPY."""
    assert broker.settings.database_url is not None
    connection = await asyncpg.connect(broker.settings.database_url.get_secret_value())
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        content: dict[str, str] = {}
        for schema, table in tables:
            stream = io.BytesIO()
            await connection.copy_from_table(table, schema_name=schema, output=stream)
            content[table] = stream.getvalue().decode()
        return content
    finally:
        await connection.close()


async def column(broker: Broker, query: str, **values: object) -> str:
    """Return the one value of a query."""
    async with broker.database.transaction() as transaction:
        return str((await transaction.execute(text(query), values)).scalar_one())


async def change(broker: Broker, statement: str, **values: object) -> None:
    """Execute a statement with write access."""
    async with broker.database.transaction() as transaction:
        await transaction.execute(text(statement), values)


async def test_no_secret_is_in_a_dump(own_broker: Broker, victim: Api, bank: SandboxClient) -> None:
    async with own_broker.new_browser() as browser:
        linked, _ = await log_in(victim, bank, browser)
        waiting = await victim.start(require_confirmation=True, return_url="https://shop.example/done")
        location = await go_to_bank(bank, browser, waiting)
        shown = await browser.open(location)
        pending = await victim.start()
        await browser.open(pending["connect_url"])
        cookies = [cookie.value or "" for cookie in browser.cookies.jar]
    tokens = (await own_broker.rows.stored(linked["connection_id"])).tokens
    assert tokens is not None
    assert tokens.refresh_token is not None
    parameters = parameters_of(pending["authorization_url"])
    secrets = [
        tokens.access_token.get_secret_value(),
        tokens.refresh_token.get_secret_value(),
        victim.api_key,
        victim.api_key[17:],
        parameters["state"],
        parameters["nonce"],
        pending["connect_url"].rpartition("/")[2],
        parameters_of(location)["code"],
        parameters_of(shown.headers["location"])["confirmation_code"],
        *cookies,
    ]
    secrets += [hashlib.sha256(victim.api_key.encode()).hexdigest()]
    dumped = await dump(own_broker)
    assert {"tokens", "api_keys", "stitch_authorization_requests", "audit_events"} <= dumped.keys()
    assert linked["connection_id"] in dumped["tokens"]
    everything = "\n".join(dumped.values())
    assert [secret for secret in secrets if secret in everything] == []


class TestReading:
    """The thief has a complete dump, but no encryption key."""

    async def test_no_ciphertext_can_be_decrypted_with_another_key(
        self, own_broker: Broker, victim: Api, bank: SandboxClient
    ) -> None:
        """Not even with another key of the same name."""
        connection = await own_broker.rows.link(bank, tenant=victim.tenant)
        async with own_broker.database.transaction() as transaction:
            with pytest.raises(DecryptionError):
                await get_connection_with_tokens(transaction, _OTHER_KEYS, victim.tenant, connection.id)
        ciphertexts = re.findall(r"v1\.test\.[\w-]+=*", "\n".join((await dump(own_broker)).values()))
        assert len(ciphertexts) >= 3
        for ciphertext in ciphertexts:
            assert Ciphertext(ciphertext).key_id == "test"

    async def test_digests_give_no_access(self, own_broker: Broker, victim: Api, bank: SandboxClient) -> None:
        async with own_broker.new_browser() as browser, own_broker.new_browser() as thief:
            session = await victim.start(require_confirmation=True)
            location = await go_to_bank(bank, browser, session)
            row = {
                name: await column(own_broker, f"SELECT {name} FROM stitch_authorization_requests")
                for name in ("stitch_state", "ticket_digest", "browser_digest", "ticket", "authorization_url")
            }
            for state in (row["stitch_state"], row["authorization_url"]):
                shown = await thief.get("/callback", params={"state": state, "code": "stolen"})
                assert (shown.status_code, "not known" in shown.text) == (400, True)
            for ticket in (row["ticket_digest"], row["ticket"]):
                assert (await thief.get(f"/connect/{ticket}")).status_code == 404
            [name] = [cookie.name for cookie in browser.cookies.jar]
            shown = await thief.open(location, headers={"cookie": f"{name}={row['browser_digest']}"})
            assert (shown.status_code, "another browser" in shown.text) == (400, True)
            await browser.open(location)
            sealed_code = await column(own_broker, "SELECT confirmation_code FROM stitch_authorization_requests")
            refused = await victim.post(
                f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": sealed_code[:200]}
            )
            assert_problem(refused, 422, "confirmation_code_wrong")

    async def test_the_stored_parts_of_a_key_are_not_a_key(self, own_broker: Broker, victim: Api) -> None:
        prefix = await column(own_broker, "SELECT prefix FROM api_keys")
        keyed_hash = await column(own_broker, "SELECT keyed_hash FROM api_keys")
        for key in (keyed_hash, f"{prefix}_{keyed_hash}", prefix):
            refused = await victim.get("/v1/connections", headers={"authorization": f"Bearer {key}"})
            assert_problem(refused, 401, "unauthorized_caller")


class TestWriting:
    """The thief moves ciphertexts to rows that a caller of theirs may use."""

    @pytest.fixture
    async def victim(self, sign_up: ApiFactory) -> Api:
        """The caller whose ciphertexts are moved."""
        return await sign_up()

    @pytest.fixture
    async def thief(self, sign_up: ApiFactory) -> Api:
        """A caller of another tenant."""
        return await sign_up()

    @pytest.mark.parametrize("moved", ["access_token = v.access_token", "access_token = v.refresh_token"])
    async def test_a_token_moved_to_another_connection_cannot_be_decrypted(
        self, *, broker: Broker, victim: Api, thief: Api, bank: SandboxClient, moved: str
    ) -> None:
        theirs = await broker.rows.link(bank, tenant=victim.tenant)
        mine = await broker.rows.link(bank, tenant=thief.tenant, username="johan")
        await change(
            broker,
            f"UPDATE tokens t SET {moved} FROM tokens v WHERE t.connection_id = :mine AND v.connection_id = :theirs",
            mine=mine.id,
            theirs=theirs.id,
        )
        before = (await bank.ledger()).totals
        assert_graphql_error(await thief.query(mine.id), 503, "BROKER_UNAVAILABLE")
        assert_problem(await thief.post(f"/v1/connections/{mine.id}/token"), 503, "decryption_failed")
        assert (await bank.ledger()).totals == before

    async def test_a_refresh_token_cannot_be_decrypted_as_an_access_token_or_in_another_version(
        self, broker: Broker, thief: Api, bank: SandboxClient
    ) -> None:
        for statement in ("access_token = refresh_token", "version = version + 1"):
            mine = await broker.rows.link(bank, tenant=thief.tenant)
            await change(broker, f"UPDATE tokens SET {statement} WHERE connection_id = :mine", mine=mine.id)
            await change(broker, "UPDATE connections SET version = version WHERE id = :mine", mine=mine.id)
            assert_problem(await thief.post(f"/v1/connections/{mine.id}/token"), 503, "decryption_failed")

    @pytest.mark.parametrize("name", ["authorization_url", "ticket"])
    async def test_a_link_moved_to_another_session_cannot_be_decrypted(
        self, broker: Broker, victim: Api, thief: Api, name: str
    ) -> None:
        theirs, mine = await victim.start(), await thief.start()
        await change(
            broker,
            f"UPDATE stitch_authorization_requests t SET {name} = v.{name} FROM stitch_authorization_requests v "
            "WHERE t.id = :mine AND v.id = :theirs",
            mine=mine["id"],
            theirs=theirs["id"],
        )
        assert_problem(await thief.get(f"/v1/sessions/{mine['id']}"), 503, "decryption_failed")

    async def test_a_verifier_of_another_login_cannot_be_decrypted(
        self, broker: Broker, victim: Api, thief: Api, bank: SandboxClient
    ) -> None:
        async with broker.new_browser() as browser:
            theirs, mine = await victim.start(), await thief.start()
            location = await go_to_bank(bank, browser, mine)
            await change(
                broker,
                "UPDATE stitch_authorization_requests t SET code_verifier = v.code_verifier "
                "FROM stitch_authorization_requests v WHERE t.id = :mine AND v.id = :theirs",
                mine=mine["id"],
                theirs=theirs["id"],
            )
            await browser.open(location)
        assert (await bank.ledger()).totals.codes_exchanged == 0
        assert (await victim.get("/v1/connections")).json()["items"] == []
        assert (await thief.get("/v1/connections")).json()["items"] == []
