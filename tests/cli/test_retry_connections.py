"""`broker connections retry`: the tokens of refused connections are kept for a while, and can be used again."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.errors import ReauthorizationRequired
from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Database
from app.store.tables import audit_events, bank_clients, tokens
from sandbox.client import SandboxClient
from tests.cli.conftest import Cli
from tests.support.replica import CALLER, Replica
from tests.support.rows import TENANT, Rows


async def refuse(replica: Replica, rows: Rows, bank: SandboxClient) -> str:
    """Return the id of a connection whose refresh the bank has refused by mistake."""
    connection = await rows.link(bank, seconds_left=-1)
    await bank.set_faults(token={"error": "invalid_grant", "times": 1})
    with pytest.raises(ReauthorizationRequired):
        await replica.refresh.tokens.get(TENANT, connection.id)
    return connection.id


async def test_a_refused_connection_can_be_retried(cli: Cli, replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    connection_id = await refuse(replica, rows, bank)
    with pytest.raises(ReauthorizationRequired):
        await replica.refresh.tokens.get(TENANT, connection_id)
    finished = cli("connections", "retry", connection_id, "--json")
    assert json.loads(finished.out) == [{"id": connection_id, "reason": "invalid_grant"}]
    retried = (await rows.stored(connection_id)).connection
    assert (retried.status, retried.version, retried.reauthorization_reason) == (ConnectionStatus.ACTIVE, 1, None)
    assert (await rows.column(audit_events, "action"))[-1] == "connection.retried"
    replica.refresh.tokens.invalidate_all()
    assert (await replica.refresh.tokens.get(TENANT, connection_id)).version == 2


async def test_a_connection_that_is_refused_again_ends_again(
    cli: Cli, replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    connection_id = await refuse(replica, rows, bank)
    await bank.control("revoke-consent", sub=(await rows.stored(connection_id)).connection.subject)
    assert cli("connections", "retry", "--all").status == 0
    replica.refresh.tokens.invalidate_all()
    with pytest.raises(ReauthorizationRequired):
        await replica.refresh.tokens.get(TENANT, connection_id)
    assert len(await rows.attempts(connection_id)) == 2


async def test_only_the_selected_connections_are_retried(
    cli: Cli, replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    refused = sorted([await refuse(replica, rows, bank) for _ in range(3)])
    elsewhere = await refuse(replica, rows, bank)
    await rows.change_connection(elsewhere, tenant="elsewhere")
    await rows.change_connection(refused[0], reauthorization_reason="refresh_outcome_lost")

    def retry(*arguments: str) -> list[str]:
        return [entry["id"] for entry in json.loads(cli("connections", "retry", "--all", "--json", *arguments).out)]

    later = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
    assert retry("--since", later) == []
    assert retry("--reason", "refresh_outcome_lost") == refused[:1]
    assert retry("--since", "2020-01-01") == refused[1:]
    assert retry() == []
    assert retry("--tenant", "elsewhere") == [elsewhere]


async def test_what_cannot_be_retried_is_named(cli: Cli, rows: Rows) -> None:
    active = await rows.insert()
    finished = cli("connections", "retry", active.id)
    assert (finished.status, finished.err) == (
        1,
        f"broker: no refused connection with kept tokens in this tenant: {active.id}\n",
    )
    for arguments in ((), (active.id, "--all")):
        assert cli("connections", "retry", *arguments).status == 2


async def test_a_disconnection_erases_kept_tokens_at_once(replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    connection_id = await refuse(replica, rows, bank)
    assert await rows.count(tokens) == 1
    await replica.connections.disconnect.disconnect(CALLER, connection_id)
    assert await rows.count(tokens) == 0


async def test_a_renewal_replaces_kept_tokens(cli: Cli, replica: Replica, rows: Rows, bank: SandboxClient) -> None:
    connection_id = await refuse(replica, rows, bank)
    await replica.log_in(bank, connection_id=connection_id)
    assert await rows.column(tokens, "refused_at") == [None]
    assert json.loads(cli("connections", "retry", "--all", "--json").out) == []
    assert (await replica.refresh.tokens.get(TENANT, connection_id)).version == 2


async def test_an_operator_ends_a_storm(cli: Cli, rows: Rows, database: Database, bank: SandboxClient) -> None:
    client = (await rows.link(bank)).bank_client
    values = {"issuer": client.issuer, "client_id": client.client_id, "storm_since": datetime.now(UTC)}
    async with database.transaction() as transaction:
        await transaction.execute(bank_clients.insert().values(**values))
    assert "FAIL  refreshes: suspended by a storm of invalid_grant" in cli("doctor").out
    [resumed] = json.loads(cli("refreshes", "resume", "--json").out)
    assert (resumed["issuer"], resumed["client_id"]) == (client.issuer, client.client_id)
    assert "resumed the refreshes of 0 bank clients" in cli("refreshes", "resume").out
    assert "ok    refreshes: " in cli("doctor").out
