import asyncio

import asyncpg
import pytest
import sqlalchemy.exc
from pydantic import SecretStr
from sqlalchemy import text

from app.errors import ConfigurationError, DatabaseUnavailable
from app.store.postgresql.database import Database
from tests.support.relay import Relay

TERMINATE = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
    "pg_backend_pid()"
)


async def test_a_transaction_is_committed_unless_its_block_raises(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(text("CREATE TABLE kept (value text)"))
    with pytest.raises(LookupError):
        async with database.transaction() as transaction:
            await transaction.execute(text("INSERT INTO kept VALUES ('x')"))
            raise LookupError
    async with database.transaction() as transaction:
        assert (await transaction.execute(text("SELECT count(*) FROM kept"))).scalar_one() == 0


async def test_an_outage_is_reported_and_survived(relay: Relay) -> None:
    database = Database(relay.url)
    await database.ping()
    await relay.cut()
    with pytest.raises(DatabaseUnavailable) as away:
        await database.ping()
    assert away.value.retry_after == 1
    await relay.restore()
    await database.ping()
    await database.close()


async def test_a_connection_that_breaks_within_a_transaction_is_an_outage(relay: Relay) -> None:
    database = Database(relay.url)
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as transaction:
            await transaction.execute(text("SELECT 1"))
            await relay.cut()
            await transaction.execute(text("SELECT 1"))
    await database.close()


async def test_a_terminated_backend_is_an_outage(database: Database, database_url: SecretStr) -> None:
    killer = Database(database_url)
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction() as transaction:
            await transaction.execute(text("SELECT 1"))
            async with killer.transaction() as other:
                await other.execute(TERMINATE)
            await transaction.execute(text("SELECT 1"))
    await database.ping()
    await killer.close()


async def test_an_unreachable_server_is_an_outage() -> None:
    database = Database(SecretStr("postgresql://broker@/postgres?host=/nowhere"))
    with pytest.raises(DatabaseUnavailable):
        await database.ping()


async def test_an_exhausted_pool_is_an_outage(database_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.store.postgresql.database._POOL_TIMEOUT", 0.1)
    database = Database(database_url, pool_size=1)
    async with database.transaction():
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
    await database.close()


@pytest.mark.parametrize(
    ("condition", "is_outage"),
    [
        ("cannot_connect_now", True),
        ("admin_shutdown", True),
        ("too_many_connections", True),
        ("disk_full", True),
        ("read_only_sql_transaction", True),
        ("deadlock_detected", True),
        ("serialization_failure", True),
        ("unique_violation", False),
        ("syntax_error", False),
    ],
)
async def test_transient_errors_are_distinguished_from_bugs(
    database: Database, condition: str, is_outage: bool
) -> None:
    with pytest.raises(DatabaseUnavailable if is_outage else sqlalchemy.exc.DBAPIError):
        async with database.transaction() as transaction:
            await transaction.execute(text(f"DO $$ BEGIN RAISE {condition}; END $$"))


async def test_errors_do_not_quote_parameters(database: Database) -> None:
    with pytest.raises(sqlalchemy.exc.DBAPIError) as failed:
        async with database.transaction() as transaction:
            await transaction.execute(text("SELECT 1 / (:planted = 'x')::int"), {"planted": "planted-secret"})
    assert "planted-secret" not in str(failed.value)


async def test_an_outage_is_recognized_outside_sqlalchemy_too(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction():
            raise asyncpg.CannotConnectNowError("starting up")
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.transaction():
            raise asyncpg.UniqueViolationError("there already")


async def test_many_transactions_share_few_connections(database_url: SecretStr) -> None:
    database = Database(database_url, pool_size=2)
    await asyncio.gather(*(database.ping() for _ in range(30)))
    await database.close()


@pytest.mark.parametrize("condition", ["undefined_table", "undefined_column"])
async def test_the_error_says_that_the_database_was_never_migrated(database: Database, condition: str) -> None:
    with pytest.raises(ConfigurationError, match="broker migrate"):
        async with database.transaction() as transaction:
            await transaction.execute(text(f"DO $$ BEGIN RAISE {condition}; END $$"))


@pytest.mark.parametrize("part", ["broker@/nothing?", "nobody@/postgres?"])
async def test_the_error_says_that_the_database_or_user_does_not_exist(postgresql: SecretStr, part: str) -> None:
    database = Database(SecretStr(postgresql.get_secret_value().replace("broker@/postgres?", part)))
    with pytest.raises(ConfigurationError, match="BROKER_DATABASE_URL"):
        await database.ping()


async def test_a_malformed_address_is_reported_without_quoting_it() -> None:
    database = Database(SecretStr("postgresql://user:planted-secret@db:port/broker"))
    with pytest.raises(ConfigurationError, match="BROKER_DATABASE_URL") as refused:
        await database.ping()
    assert "planted-secret" not in refused.value.detail


@pytest.mark.parametrize("parameters", ["connect_timeout=5&keepalives=1&channel_binding=prefer", "gssencmode=prefer"])
async def test_parameters_that_only_libpq_knows_are_accepted(database_url: SecretStr, parameters: str) -> None:
    url = database_url.get_secret_value()
    database = Database(SecretStr(f"{url}{'&' if '?' in url else '?'}{parameters}"))
    await database.ping()
    await database.close()


async def test_an_unknown_parameter_of_the_address_is_reported(database_url: SecretStr) -> None:
    url = database_url.get_secret_value()
    database = Database(SecretStr(f"{url}{'&' if '?' in url else '?'}bogus=1"))
    with pytest.raises(ConfigurationError, match="BROKER_DATABASE_URL"):
        await database.ping()
    await database.close()
