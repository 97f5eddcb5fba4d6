"""`broker connections` and `broker sessions`."""

import json

import pytest

from app.store.postgresql.database import Database
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID
from tests.cli.conftest import Cli
from tests.support.bank import living_families_at
from tests.support.replica import Replica
from tests.support.rows import Rows

SECRETS = ("an access token", "a refresh token", "v1.test.")


async def test_connections_are_listed_the_newest_first(cli: Cli, rows: Rows) -> None:
    first = await rows.insert(user_id="one")
    second = await rows.insert(user_id="two")
    await rows.insert(tenant="elsewhere")
    finished = cli("connections", "list", "--json")
    listed = json.loads(finished.out)
    assert [one["id"] for one in listed] == [second.id, first.id]
    assert list(listed[0]) == ["id", "status", "user_id", "version", "access_token_expires_at", "last_used_at"]
    assert [one["id"] for one in json.loads(cli("connections", "list", "--user-id", "one", "--json").out)] == [first.id]
    assert len(json.loads(cli("connections", "list", "--limit", "1", "--json").out)) == 1
    assert len(json.loads(cli("connections", "list", "--tenant", "elsewhere", "--json").out)) == 1
    table = cli("connections", "list").out
    assert first.id in table
    assert second.id in table


@pytest.mark.parametrize("user_id", ["[/]", "[bold]", "a[b]c"])
async def test_a_users_name_in_brackets_is_shown_as_it_is(cli: Cli, rows: Rows, user_id: str) -> None:
    await rows.insert(user_id=user_id)
    finished = cli("connections", "list")
    assert finished.status == 0
    assert user_id in finished.out


async def test_a_connection_is_shown_without_its_tokens(cli: Cli, rows: Rows) -> None:
    connection = await rows.insert()
    shown = json.loads(cli("connections", "show", connection.id, "--json").out)
    assert shown["id"] == connection.id
    assert shown["version"] == 1
    assert "lease_until" in shown
    plain = cli("connections", "show", connection.id).out
    assert connection.id in plain
    assert not any(secret in plain + str(shown) for secret in SECRETS)


async def test_an_unknown_connection_is_one_line(cli: Cli, rows: Rows) -> None:
    elsewhere = await rows.insert(tenant="elsewhere")
    for command in ("show", "revoke"):
        for name in ("con_unknown", elsewhere.id):
            finished = cli("connections", command, name)
            assert finished.status == 1
            assert finished.err == "broker: there is no such connection in this tenant; name another with --tenant\n"
    assert cli("connections", "show", elsewhere.id, "--tenant", "elsewhere").status == 0


async def test_a_revoked_connection_is_revoked_at_the_bank_by_a_running_broker(
    cli: Cli, rows: Rows, bank: SandboxClient, replica: Replica
) -> None:
    connection = await rows.link(bank)
    finished = cli("connections", "revoke", connection.id)
    assert (finished.status, finished.out) == (0, f"revoked {connection.id}\n")
    held = await rows.stored(connection.id)
    assert held.connection.status == "revoked"
    assert held.tokens is None
    again = cli("connections", "revoke", connection.id, "--json")
    assert json.loads(again.out)["status"] == "revoked"
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_a_session_is_shown_without_its_secrets(cli: Cli, replica: Replica) -> None:
    session = await replica.start_login()
    url = replica.authorization_url(session)
    shown = json.loads(cli("sessions", "show", session.id, "--json").out)
    assert (shown["id"], shown["status"], shown["user_id"]) == (session.id, "pending", "user-1")
    plain = cli("sessions", "show", session.id).out
    assert session.id in plain
    assert url not in plain + str(shown)
    assert session.stitch_state not in plain + str(shown)
    assert not any(secret in plain + str(shown) for secret in SECRETS)


async def test_an_unknown_session_is_one_line(cli: Cli, database: Database) -> None:
    finished = cli("sessions", "show", "ses_unknown")
    assert (finished.status, finished.err) == (1, "broker: the tenant default has no session ses_unknown\n")


async def test_doctor_counts_the_connections_of_other_clients(cli: Cli, rows: Rows, bank_url: str) -> None:
    await rows.insert()
    assert "ok    bank client: " in cli("doctor").out
    finished = cli("doctor", BROKER_STITCH_CLIENT_ID="another-client")
    assert finished.status == 1
    finding = f"connections were linked by other clients: 1 by {CLIENT_ID} at {bank_url}"
    assert f"FAIL  bank client: {finding}\n" in finished.out
    assert "BROKER_STITCH_CLIENT_ID" in finished.out
