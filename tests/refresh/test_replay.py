"""Spooled responses: saved after a restart, private and encrypted on disk."""

import contextlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy.exc
import structlog
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.spool.refreshes import RefreshSpool, UnsavedRefresh
from app.store.connections import Connection, TokenSet
from app.store.enums import ConnectionStatus
from app.store.refreshes import Claim, NewTokens
from app.store.tables import revocations
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.refresh.steps import carry_out, claim_of
from tests.support.logs import capture_log_events
from tests.support.replica import Replica
from tests.support.rows import Rows


@pytest.fixture
async def connection(rows: Rows, bank: SandboxClient) -> Connection:
    """One whose access token has expired."""
    return await rows.link(bank, seconds_left=-1)


def unsaved(replica: Replica, claim: Claim, *, seconds_ago: float = 0) -> UnsavedRefresh:
    """Return a response that no bank has sent."""
    new = NewTokens(TokenSet(SecretStr("planted access"), SecretStr("planted refresh")), 900, None)
    return UnsavedRefresh(claim, new, replica.core.clock.now() - timedelta(seconds=seconds_ago))


async def test_the_lifetime_of_a_replayed_token_began_when_it_was_requested(
    replica: Replica, rows: Rows, connection: Connection
) -> None:
    await replica.refresh.spool.add(unsaved(replica, await claim_of(replica, connection), seconds_ago=600))
    await replica.refresh.refresher.replay()
    assert 250 < (await rows.stored(connection.id)).seconds_left <= 300


async def test_a_clock_that_was_set_back_does_not_extend_the_lifetime_of_a_token(
    replica: Replica, rows: Rows, connection: Connection
) -> None:
    await replica.refresh.spool.add(unsaved(replica, await claim_of(replica, connection), seconds_ago=-600))
    await replica.refresh.refresher.replay()
    assert (await rows.stored(connection.id)).seconds_left <= 900


async def test_a_replayed_response_of_a_revoked_connection_is_revoked(
    replica: Replica, rows: Rows, connection: Connection
) -> None:
    await replica.refresh.spool.add(unsaved(replica, await claim_of(replica, connection)))
    await rows.change_connection(connection.id, status=ConnectionStatus.REVOKED)
    await replica.refresh.refresher.replay()
    assert await rows.count(revocations) == 1
    assert len(list(replica.refresh.spool.entries())) == 0


async def test_a_response_that_cannot_be_saved_does_not_delay_the_others(
    replica: Replica, rows: Rows, bank: SandboxClient
) -> None:
    # Files are read in the order of their names.
    linked = [await rows.link(bank, seconds_left=-1) for _ in range(2)]
    first, second = sorted(linked, key=lambda connection: connection.id)
    answer = unsaved(replica, await claim_of(replica, first))
    await replica.refresh.spool.add(replace(answer, new=replace(answer.new, scopes=["a\x00"])))
    await replica.refresh.spool.add(unsaved(replica, await claim_of(replica, second)))
    with contextlib.suppress(sqlalchemy.exc.DBAPIError):
        await replica.refresh.refresher.replay()
    assert (await rows.stored(second.id)).connection.version == 2


async def test_the_spool_is_private_and_encrypted(replica: Replica, connection: Connection, tmp_path: Path) -> None:
    directory = tmp_path / "private"
    spool = RefreshSpool(directory, replica.core.key_ring)
    await spool.add(unsaved(replica, await claim_of(replica, connection)))
    (file,) = directory.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert "planted" not in file.read_text()
    (found,) = spool.entries()
    assert found.new.tokens.refresh_token == SecretStr("planted refresh")
    assert "planted" not in repr(found)


async def test_a_spooled_response_is_read_back_unchanged(replica: Replica, connection: Connection) -> None:
    claim = await claim_of(replica, connection)
    kept = UnsavedRefresh(claim, NewTokens(TokenSet(SecretStr("a"), None), 1, ["x"], "sub"), replica.core.clock.now())
    await replica.refresh.spool.add(kept)
    assert list(replica.refresh.spool.entries()) == [kept]
    await replica.refresh.spool.remove(claim)
    await replica.refresh.spool.remove(claim)
    assert list(replica.refresh.spool.entries()) == []


async def test_an_unreadable_file_is_kept_and_logged(replica: Replica, connection: Connection, tmp_path: Path) -> None:
    directory = tmp_path / "mixed"
    claim = await claim_of(replica, connection)
    await RefreshSpool(directory, KeyRing({"lost": bytes(32)})).add(unsaved(replica, claim))
    (directory / "con_x.y.refresh").write_text("garbage")
    (directory / "con_x.1.refresh").write_bytes(b"\xff")
    with capture_log_events() as logs:
        assert list(RefreshSpool(directory, replica.core.key_ring).entries()) == []
    assert [line["event"] for line in logs].count("spool_unreadable") == 3
    assert len(list(directory.iterdir())) == 3


async def test_an_unwritable_disk_does_not_stop_a_refresh(
    replicas: ReplicaFactory, bank: SandboxClient, rows: Rows, tmp_path: Path, connection: Connection
) -> None:
    (tmp_path / "file").touch()
    replica = await replicas(data_dir=tmp_path / "file")
    with capture_log_events() as logs:
        await carry_out(replica, await claim_of(replica, connection))
    assert "spool_unwritable" in [line["event"] for line in logs]
    assert (await rows.stored(connection.id)).connection.version == 2


async def test_an_unfinished_draft_is_not_read(replica: Replica, connection: Connection, tmp_path: Path) -> None:
    directory = tmp_path / "drafts"
    claim = await claim_of(replica, connection)
    (directory / f"{claim.connection_id}.{claim.fence}.refresh").mkdir(parents=True)
    with structlog.testing.capture_logs():
        await RefreshSpool(directory, replica.core.key_ring).add(unsaved(replica, claim))
    assert [path.suffix for path in directory.iterdir()] == [".refresh"]
