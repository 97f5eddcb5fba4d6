"""No token response is lost, whatever happens to the process and to the database."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.base.encryption import AssociatedData
from app.spool.logins import LoginSpool, UnsavedTokenResponse
from app.store.enums import ConnectionStatus, SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session
from app.store.tables import revocations
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.support.bank import living_families_at
from tests.support.eventually import eventually
from tests.support.gates import stop_after
from tests.support.logs import capture_log_events
from tests.support.relay import Relay
from tests.support.replica import CALLER, IMPATIENT_BROWSER, Replica
from tests.support.rows import TENANT, Rows

SECRET, OTHER_SESSION = SecretStr("{}"), AssociatedData("elsewhere", "token_response", "ses_other")


def files_in(spool: Path) -> dict[str, str]:
    """Return the contents of the files of a spool."""
    return {path.name: path.read_text() for path in spool.glob("*")}


@pytest.fixture
async def stopped(
    replicas: ReplicaFactory, relay: Relay, bank: SandboxClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Session:
    """A login whose replica lost the database right after the exchange, and was then stopped."""
    lost = await replicas(
        database_url=relay.url, listens=False, options=IMPATIENT_BROWSER, data_dir=tmp_path / "stopped"
    )
    exchange = stop_after(monkeypatch, lost.bank.token_endpoint, "exchange")
    session = await lost.log_in(bank)
    assert session.status is SessionStatus.EXCHANGING
    await exchange.wait_until_reached()
    await relay.cut()
    exchange.open()
    spool = tmp_path / "stopped" / "spool"

    async def is_on_disk() -> bool:
        return f"{session.id}.login" in files_in(spool)

    await eventually(is_on_disk)
    assert await lost.core.tasks.drain(0) == [f"login {session.id}"]
    assert "access_token" not in "".join(files_in(spool).values())
    return session


async def test_the_next_process_links_a_response_that_a_stopped_one_left(
    replicas: ReplicaFactory, stopped: Session, bank: SandboxClient, rows: Rows, tmp_path: Path
) -> None:
    following = await replicas(data_dir=tmp_path / "stopped")
    following.clock.advance(20)
    # Its own housekeeping must not end the login first.
    await rows.change_session(stopped.id, lease_until=seconds_from_now(-1))
    await following.maintenance.housekeeping.resume_overdue_logins()
    assert await following.core.tasks.drain(5) == []
    await following.login.token_responses.replay()
    ended = await following.login.sessions.get(CALLER, stopped.id)
    assert (ended.status, ended.error_code) == (SessionStatus.COMPLETED, None)
    assert files_in(tmp_path / "stopped" / "spool") == {}
    assert ended.connection_id is not None
    stored = await rows.stored(ended.connection_id)
    # The lifetime of the token began when it was received.
    assert 800 < stored.seconds_left <= 880


async def test_a_response_whose_login_has_ended_is_revoked(
    replicas: ReplicaFactory, stopped: Session, bank: SandboxClient, rows: Rows, tmp_path: Path
) -> None:
    other = await replicas()
    await rows.change_session(stopped.id, lease_until=seconds_from_now(-1))
    await other.maintenance.housekeeping.resume_overdue_logins()
    assert (await other.ended(stopped)).error_code == "exchange_interrupted"
    following = await replicas(data_dir=tmp_path / "stopped")
    await following.login.token_responses.replay()
    assert await following.connections.revocation_worker.revoke_due() == 1
    assert await living_families_at(bank) == 0
    assert files_in(tmp_path / "stopped" / "spool") == {}


async def test_a_response_whose_session_was_erased_is_revoked(
    replicas: ReplicaFactory, stopped: Session, bank: SandboxClient, tmp_path: Path
) -> None:
    following = await replicas(data_dir=tmp_path / "stopped")
    await following.connections.disconnect.erase_user(CALLER, stopped.user_id)
    await following.login.token_responses.replay()
    await following.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_an_old_response_whose_session_was_removed_revokes_nothing(
    replicas: ReplicaFactory, replica: Replica, rows: Rows, tmp_path: Path
) -> None:
    spool = LoginSpool(tmp_path / "spool", replica.core.key_ring)
    received_at = replica.core.clock.now() - timedelta(days=2)
    await spool.add(UnsavedTokenResponse(TENANT, "ses_gone", received_at, SecretStr('{"access_token": "at"}')))
    sealed = replica.core.key_ring.encrypt(SecretStr('{"tenant": 1}'), AssociatedData("spool", "login", "ses_other"))
    (tmp_path / "spool" / "ses_other.login").write_text(sealed.text)
    following = await replicas(data_dir=tmp_path)
    with capture_log_events() as logs:
        await following.login.token_responses.replay()
    assert await rows.count(revocations) == 0
    assert [line["event"] for line in logs] == ["spool_unreadable", "spool_replayed", "answer_too_old"]
    assert list(files_in(tmp_path / "spool")) == ["ses_other.login"]


async def test_a_leftover_file_of_a_completed_login_does_no_harm(
    replicas: ReplicaFactory, replica: Replica, bank: SandboxClient, rows: Rows, tmp_path: Path
) -> None:
    tokens = await bank.link()
    session = await replica.log_in(bank)
    spool = LoginSpool(tmp_path / "spool", replica.core.key_ring)
    await spool.add(UnsavedTokenResponse(TENANT, session.id, replica.core.clock.now(), SecretStr(json.dumps(tokens))))
    following = await replicas(data_dir=tmp_path)
    await following.login.token_responses.replay()
    assert await rows.count(revocations) == 0
    assert session.connection_id is not None
    assert (await rows.stored(session.connection_id)).connection.status is ConnectionStatus.ACTIVE
    assert list(spool.entries()) == []


@pytest.mark.parametrize("damage", ["unreadable", "fault"])
async def test_a_response_that_cannot_be_processed_fails_its_login_when_it_expires(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    await bank.set_faults(jwks={"status": 503})
    session = await replica.log_in(bank)
    assert session.status is SessionStatus.EXCHANGING

    async def is_stored() -> bool:
        return (await replica.login.sessions.get(CALLER, session.id)).token_response is not None

    await eventually(is_stored)
    await replica.core.tasks.drain(0)
    await bank.set_faults(jwks=None)
    if damage == "fault":

        async def crash(*_: object) -> None:
            raise KeyError("planted")

        monkeypatch.setattr(replica.login.account_linker, "link", crash)
    else:
        await rows.change_session(session.id, token_response=replica.core.key_ring.encrypt(SECRET, OTHER_SESSION))
    with capture_log_events() as logs:
        await rows.change_session(session.id, lease_until=seconds_from_now(-1))
        await replica.maintenance.housekeeping.resume_overdue_logins()
        await replica.core.tasks.drain(20)
        assert (await replica.login.sessions.get(CALLER, session.id)).status is SessionStatus.EXCHANGING
        await rows.change_session(session.id, expires_at=seconds_from_now(-1), lease_until=seconds_from_now(-1))
        await replica.maintenance.housekeeping.resume_overdue_logins()
        ended = await replica.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "internal_error")
    assert [line["event"] for line in logs].count("login_crashed") == 2
    if damage == "fault":
        await replica.connections.revocation_worker.revoke_due()
        assert await living_families_at(bank) == 0
