"""The composition root: what opening and closing the broker promises."""

import asyncio
from pathlib import Path

import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from sqlalchemy import text

from app.api.routes.health import readyz
from app.concurrency.shutdown import ShutdownSignal
from app.errors import ConfigurationError
from app.runtime import open_runtime
from app.store.postgresql.database import Database
from sandbox.client import SandboxClient
from tests.support.broker import Broker, served, settings_for
from tests.support.eventually import eventually
from tests.support.journey import log_in
from tests.support.logs import capture_logs
from tests.support.postgresql import Databases
from tests.support.relay import Relay


async def test_a_database_that_is_away_is_waited_for(bank_url: str, relay: Relay, tmp_path: Path) -> None:
    await relay.cut()
    with capture_logs() as logs:

        async def start() -> bool:
            async with open_runtime(settings_for(bank_url, relay.url, tmp_path)) as runtime:
                await runtime.core.database.ping()
            return True

        starting = asyncio.create_task(start())

        async def is_waiting() -> bool:
            return bool(logs.with_event("waiting_for_database"))

        await eventually(is_waiting)
        assert not starting.done()
        await relay.restore()
        assert await asyncio.wait_for(starting, 20)


async def test_who_is_told_to_stop_does_not_wait_on(bank_url: str, relay: Relay, tmp_path: Path) -> None:
    await relay.cut()
    shutdown = ShutdownSignal()
    shutdown.set()
    with pytest.raises(ConfigurationError, match="told to stop"):
        async with open_runtime(settings_for(bank_url, relay.url, tmp_path), shutdown):
            pass


async def test_an_empty_database_is_refused(bank_url: str, databases: Databases, tmp_path: Path) -> None:
    async with databases.fresh(migrated=False) as url:
        with pytest.raises(ConfigurationError, match="broker migrate"):
            async with open_runtime(settings_for(bank_url, url, tmp_path)):
                pass


async def test_a_schema_of_another_version_is_only_mentioned(
    bank_url: str, database_url: SecretStr, database: Database, tmp_path: Path
) -> None:
    """A running old version survives a migration, so it must also start after one."""
    async with database.transaction() as transaction:
        await transaction.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    with capture_logs() as logs:
        async with open_runtime(settings_for(bank_url, database_url, tmp_path)) as runtime:
            await runtime.core.database.ping()
    assert logs.with_event("schema_differs")[0]["found"] == "later"


async def test_every_way_of_client_authentication_links_an_account(
    bank_url: str, database_url: SecretStr, bank: SandboxClient, client_key: RSAKey, tmp_path: Path
) -> None:
    file = tmp_path / "client.pem"
    file.write_bytes(client_key.as_pem(private=True))
    for change in (
        {"stitch_client_auth": "client_secret_post"},
        {"stitch_client_auth": "client_secret_basic"},
        {
            "stitch_client_auth": "private_key_jwt",
            "stitch_private_key_file": file,
            "stitch_private_key_id": "client-key",
            "stitch_client_secret": None,
        },
    ):
        settings = settings_for(bank_url, database_url, tmp_path, **change)
        async with served(settings) as broker, await broker.sign_up() as api, broker.new_browser() as browser:
            session, _ = await log_in(api, bank, browser)
            assert session["status"] == "completed", change
            assert (await api.delete(f"/v1/connections/{session['connection_id']}")).status_code == 204


async def test_endpoints_can_be_named_in_place_of_the_discovered(
    bank_url: str, database_url: SecretStr, bank: SandboxClient, tmp_path: Path
) -> None:
    await bank.set_faults(discovery={"status": 503})
    settings = settings_for(
        bank_url,
        database_url,
        tmp_path,
        stitch_authorization_endpoint=f"{bank_url}/connect/authorize",
        stitch_token_endpoint=f"{bank_url}/connect/token",
        stitch_revocation_endpoint=f"{bank_url}/connect/revocation",
        stitch_jwks_uri=f"{bank_url}/.well-known/openid-configuration/jwks",
    )
    async with served(settings) as broker, await broker.sign_up() as api, broker.new_browser() as browser:
        session, _ = await log_in(api, bank, browser)
        assert session["status"] == "completed"


async def test_a_refresh_under_way_is_finished_before_the_end(
    bank_url: str, database_url: SecretStr, bank: SandboxClient, tmp_path: Path
) -> None:
    async def asked(broker: Broker) -> str:
        connection = await broker.rows.link(bank, tenant="default")
        await bank.set_faults(token={"delay_after": 1, "grant_type": "refresh_token", "times": 1})
        async with await broker.sign_up(tenant="default") as api:
            call = asyncio.create_task(api.post(f"/v1/connections/{connection.id}/refresh"))

            async def has_reached_the_bank() -> bool:
                return (await bank.http.get("/sandbox/faults")).json()["token"] is None

            await eventually(has_reached_the_bank)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        return connection.id

    settings = settings_for(bank_url, database_url, tmp_path)
    async with served(settings) as broker:
        connection_id = await asked(broker)
    async with served(settings) as broker:
        assert (await broker.rows.stored(connection_id)).connection.version == 2
    assert not list((tmp_path / "spool").glob("*.refresh"))


async def test_while_it_stops_it_is_not_ready(bank_url: str, database_url: SecretStr, tmp_path: Path) -> None:
    async with open_runtime(settings_for(bank_url, database_url, tmp_path)) as runtime:
        assert (await readyz(runtime)).status_code == 200
        runtime.core.shutdown.set()
        answer = await readyz(runtime)
        assert answer.status_code == 503
        assert b'"stopping"' in answer.body


async def test_a_replica_hears_of_changes_through_its_own_listening_address(
    bank_url: str, database_url: SecretStr, bank: SandboxClient, tmp_path: Path, relay: Relay
) -> None:
    settings = settings_for(bank_url, database_url, tmp_path, database_listen_url=relay.url, cache_ttl=300)
    async with served(settings) as broker, await broker.sign_up(tenant="default") as api:
        connection = await broker.rows.link(bank, tenant="default")

        async def heard() -> str:
            checks: dict[str, str] = (await api.get("/readyz")).json()["checks"]
            return checks["notifications"]

        async def hears() -> bool:
            return await heard() == "ok"

        await eventually(hears)
        assert (await api.query(connection.id)).status_code == 200
        await relay.cut()

        async def is_deaf() -> bool:
            return await heard() == "not heard, polling"

        await eventually(is_deaf)
        assert (await api.get("/readyz")).status_code == 200
        await broker.rows.change_connection(connection.id, status="revoked")
        await relay.restore()

        async def is_refused() -> bool:
            return (await api.query(connection.id)).status_code == 409

        await eventually(is_refused)
