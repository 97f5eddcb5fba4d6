"""A rotation of the encryption keys: under load, with processes killed in the midst of it, nobody waits or loses."""

import asyncio
import base64
import os
import re
import signal
import subprocess
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.base.randomness import new_id
from app.maintenance.key_reload import reload_keys
from app.runtime import open_runtime
from app.store.connections import NewConnection, TokenSet, insert_connection, store_tokens
from app.store.encryption_keys import count_by_key, keys_in_use
from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Database
from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from tests.cli.conftest import BROKER, Server, Servers, sign_up
from tests.support.broker import ENCRYPTION_KEY, Api, settings_for
from tests.support.eventually import eventually
from tests.support.logs import capture_logs
from tests.support.rows import CLIENT, TENANT, Rows

# Several processes begin here one after the other.
patiently = partial(eventually, timeout_seconds=120)
OLD = f"test:{ENCRYPTION_KEY}"
NEW = f"new:{base64.b64encode(b'n' * 32).decode()}"
OTHER = f"other:{base64.b64encode(b'o' * 32).decode()}"
IDLE = 450


async def insert_idle(database: Database, key_ring: KeyRing) -> None:
    """Make connections that nobody uses, so that only a rewrap brings them to another key."""
    tokens = TokenSet(SecretStr("an access token"), SecretStr("a refresh token"))
    async with database.transaction() as transaction:
        for _ in range(IDLE):
            connection_id = new_id("con")
            await insert_connection(
                transaction,
                NewConnection(
                    id=connection_id,
                    tenant=TENANT,
                    issuer=CLIENT.issuer,
                    client_id=CLIENT.client_id,
                    user_id="u",
                    status=ConnectionStatus.ACTIVE,
                    subject="s",
                    scopes=[],
                    version=1,
                    refreshable=True,
                    access_token_expires_at=seconds_from_now(900),
                    access_token_lifetime=900,
                ),
            )
            await store_tokens(
                transaction, key_ring, tenant=TENANT, connection_id=connection_id, version=1, tokens=tokens
            )


class Load:
    """Queries without a pause, on tokens that expire at each step of the rotation."""

    def __init__(self, api: Api, connections: list[str]) -> None:
        self._api = api
        self._connections = connections
        self.answered = 0

    async def run(self) -> None:
        """Ask until cancelled. Any answer but the bank's is an error; one lost with its worker is none."""
        while True:
            for connection_id in self._connections:
                try:
                    answer = await self._api.query(connection_id)
                except httpx.TransportError:
                    continue
                assert answer.status_code == 200, answer.text
                self.answered += 1


class Keys:
    """The file of the key ring, and the server that reads it."""

    def __init__(self, file: Path, server: Server) -> None:
        self._file = file
        self._server = server

    async def become(self, *entries: str, event: str = "keys_reloaded") -> None:
        """Write the ring, tell the server, and return when both workers have heard."""
        before = self._server.log.count(f'"{event}"')
        self._file.write_text(",".join(entries))
        self._server.process.send_signal(signal.SIGHUP)

        async def have_heard() -> bool:
            return self._server.log.count(f'"{event}"') >= before + 2

        await patiently(have_heard)


async def rewrap(environment: dict[str, str], keys: str) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    return await asyncio.create_subprocess_exec(
        BROKER,
        *("encryption", "rewrap", "--json"),
        env=inherited | environment | {"BROKER_ENCRYPTION_KEYS": keys},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def test_keys_are_rotated_under_load_and_under_kill(
    *,
    servers: Servers,
    free_port: int,
    database: Database,
    key_ring: KeyRing,
    rows: Rows,
    bank: SandboxClient,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "keys"
    file.write_text(OLD)
    from_file: dict[str, str | None] = {"BROKER_ENCRYPTION_KEYS": None, "BROKER_ENCRYPTION_KEYS_FILE": str(file)}
    server = await servers.start("--workers", "2", port=free_port, **from_file)
    await patiently(lambda: _has_started(server, 2))
    keys = Keys(file, server)
    used = [(await rows.link(bank, user_id=f"user-{number}")).id for number in range(4)]
    await insert_idle(database, key_ring)
    async with await sign_up(server, database, key_ring) as api:
        load = Load(api, used)
        loading = asyncio.create_task(load.run())
        await keys.become(OLD, NEW)
        await bank.control("expire")
        os.kill(int(re.findall(r"Started server process \[(\d+)\]", server.log)[0]), signal.SIGKILL)
        await patiently(lambda: _has_started(server, 3))
        await keys.become(NEW, OLD)
        await bank.control("expire")

        killed = await rewrap(environment, f"{NEW},{OLD}")

        async def has_begun() -> bool:
            return killed.returncode is not None or (await count_by_key(database)).get("new", 0) > 100

        await patiently(has_begun)
        if killed.returncode is None:
            killed.kill()
        await killed.communicate()
        again = await rewrap(environment, f"{NEW},{OLD}")
        out, err = await asyncio.wait_for(again.communicate(), 120)
        assert again.returncode == 0, err
        assert await keys_in_use(database) == {"new"}, out

        await keys.become(NEW)
        await bank.control("expire")
        answered = load.answered
        await patiently(lambda: _more_than(load, answered + 8))
        assert not loading.done(), loading.exception()
        await keys.become(OTHER, event="keys_not_reloaded")
        assert (await api.query(used[0])).status_code == 200
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
    assert "lacks the key 'new'" in server.log
    # Three refreshes of each, and none that the bank refused.
    assert (await bank.ledger()).totals.token_requests["refresh_token"] == {"ok": 3 * len(used)}
    new = Rows(database, KeyRing.parse(NEW))
    for connection_id in used:
        assert (await new.stored(connection_id)).tokens is not None
    assert await server.stop() in (0, -15)


async def _has_started(server: Server, workers: int) -> bool:
    return server.log.count('"event": "started"') == workers


async def _more_than(load: Load, number: int) -> bool:
    return load.answered > number


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_key_that_is_in_use_cannot_be_left_out(
    servers: Servers, free_port: int, rows: Rows, workers: str
) -> None:
    await rows.insert()
    server = await servers.begin("--workers", workers, port=free_port, BROKER_ENCRYPTION_KEYS=NEW)
    assert await server.ended() != 0
    [line] = [line for line in server.log.splitlines() if "lacks the key 'test'" in line]
    assert "broker encryption rewrap" in line
    assert "Traceback" not in server.log


@pytest.mark.parametrize("wrong", [None, "no key ring", OTHER])
async def test_a_ring_that_cannot_be_used_changes_nothing(
    *,
    database_url: SecretStr,
    bank_url: str,
    rows: Rows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str | None,
) -> None:
    connection = await rows.insert()
    file = tmp_path / "keys"
    if wrong is not None:
        file.write_text(wrong)
    async with open_runtime(settings_for(bank_url, database_url, tmp_path)) as runtime:
        monkeypatch.setenv("BROKER_ENCRYPTION_KEYS_FILE", str(file))
        with capture_logs() as logs:
            await reload_keys(runtime.core)
        assert logs.with_event("keys_not_reloaded")
        assert (await runtime.refresh.tokens.get(TENANT, connection.id)).version == 1
        file.write_text(f"{NEW},{OLD}")
        await reload_keys(runtime.core)
        assert runtime.core.key_ring.key_ids == ("new", "test")
        assert (await runtime.refresh.tokens.get(TENANT, connection.id)).version == 1
