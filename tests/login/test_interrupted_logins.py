"""Outages, crashes and delays during a login: it completes once, or fails without leaving valid tokens."""

from dataclasses import replace

import pytest

from app.login.session_lease import LeaseTimes
from app.oidc.provider_metadata import ProviderMetadata
from app.store.enums import SessionStatus
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import Session
from app.store.tables import connections, revocations, sessions
from sandbox.client import SandboxClient
from tests.conftest import ReplicaFactory
from tests.login.steps import codes_exchanged, exchanging
from tests.support.bank import living_families_at
from tests.support.eventually import eventually
from tests.support.gates import stop_after, stop_before
from tests.support.logs import capture_log_events
from tests.support.relay import Relay
from tests.support.replica import CALLER, IMPATIENT_BROWSER, Replica, consent
from tests.support.rows import Rows


async def test_the_lease_of_a_login_is_renewed_while_it_waits_for_the_bank(
    replicas: ReplicaFactory, bank: SandboxClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await replicas(options=replace(IMPATIENT_BROWSER, lease_times=LeaseTimes(lease=0.3)))
    exchange = stop_before(monkeypatch, replica.bank.token_endpoint, "exchange")
    session = await exchanging(replica, bank)
    [first] = await rows.column(sessions, "lease_until")

    async def is_renewed() -> bool:
        return await rows.column(sessions, "lease_until") > [first]

    await eventually(is_renewed)
    exchange.open()
    assert (await replica.ended(session)).status is SessionStatus.COMPLETED


async def test_a_login_that_waits_for_the_bank_is_not_resumed_by_another_replica(
    replicas: ReplicaFactory, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    exchange = stop_before(monkeypatch, waiting.bank.token_endpoint, "exchange")
    session = await exchanging(waiting, bank)
    await other.maintenance.housekeeping.resume_overdue_logins()
    assert await other.core.tasks.drain(20) == []
    exchange.open()
    ended = await waiting.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.COMPLETED, None)
    assert await codes_exchanged(bank) == 1


async def test_a_login_waits_for_an_outage_of_the_signing_keys_to_end(
    replicas: ReplicaFactory, bank: SandboxClient, rows: Rows
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    await bank.set_faults(jwks={"status": 503})
    session = await exchanging(replica, bank)
    assert session.token_response is not None or await codes_exchanged(bank) <= 1
    await bank.set_faults(jwks=None)
    assert (await replica.ended(session)).status is SessionStatus.COMPLETED
    assert await codes_exchanged(bank) == 1


async def test_all_steps_of_a_login_together_may_take_no_longer_than_its_session(
    replica: Replica, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discovery document takes most of the time, and the exchange has only the rest."""
    session = await replica.start_login()
    location = await consent(bank, replica.authorization_url(session))
    metadata = replica.bank.provider.metadata

    async def slow_metadata() -> ProviderMetadata:
        replica.clock.advance(900)
        return await metadata()

    monkeypatch.setattr(replica.bank.provider, "metadata", slow_metadata)
    await bank.set_faults(token={"status": 429, "retry_after": 0, "times": 1})
    ended = await replica.call_back(location)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "bank_rate_limited")


async def test_an_outage_that_outlasts_the_session_fails_it_and_revokes_the_tokens(
    replicas: ReplicaFactory, bank: SandboxClient
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    await bank.set_faults(jwks={"status": 503})
    with capture_log_events() as logs:
        session = await exchanging(replica, bank)

        async def waits_for_keys() -> bool:
            return "login_waits_for_bank" in [line["event"] for line in logs]

        await eventually(waits_for_keys)
    replica.clock.advance(1_000)
    ended = await replica.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "bank_bad_answer")
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_an_outage_of_the_signing_keys_that_outlasts_the_id_token_loses_nothing(
    replicas: ReplicaFactory, bank: SandboxClient
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    await bank.set_faults(jwks={"status": 503})
    session = await exchanging(replica, bank)

    async def is_stored() -> bool:
        return (await replica.login.sessions.get(CALLER, session.id)).token_response is not None

    await eventually(is_stored)
    replica.clock.advance(600)
    await bank.set_faults(jwks=None)
    ended = await replica.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.COMPLETED, None)


async def test_losing_the_database_after_the_exchange_loses_no_login(
    replicas: ReplicaFactory, relay: Relay, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await replicas(database_url=relay.url, listens=False, options=IMPATIENT_BROWSER)
    onlooker = await replicas()
    exchange = stop_after(monkeypatch, replica.bank.token_endpoint, "exchange")
    with capture_log_events() as logs:
        session = await exchanging(replica, bank)
        await exchange.wait_until_reached()
        assert await codes_exchanged(bank) == 1
        await relay.cut()
        exchange.open()

        async def is_retrying() -> bool:
            return ("waiting_for_database", session.id) in [(line["event"], line.get("about")) for line in logs]

        await eventually(is_retrying)
    await relay.restore()
    assert (await onlooker.ended(session)).status is SessionStatus.COMPLETED


async def interrupt(replica: Replica, rows: Rows, session: Session) -> None:
    """Stop a replica in the middle of its work, and end the lease of the session."""
    assert await replica.core.tasks.drain(0) != []
    await rows.change_session(session.id, lease_until=seconds_from_now(-1))


async def test_another_replica_completes_a_login_that_was_interrupted_after_the_exchange(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient
) -> None:
    lost, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    await bank.set_faults(jwks={"status": 503})
    session = await exchanging(lost, bank)

    async def is_stored() -> bool:
        return (await other.login.sessions.get(CALLER, session.id)).token_response is not None

    await eventually(is_stored)
    await interrupt(lost, rows, session)
    await bank.set_faults(jwks=None)
    await other.maintenance.housekeeping.resume_overdue_logins()
    assert (await other.ended(session)).status is SessionStatus.COMPLETED
    assert await codes_exchanged(bank) == 1


async def test_a_login_that_was_interrupted_during_the_exchange_fails_and_sends_no_code_again(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    exchange = stop_before(monkeypatch, lost.bank.token_endpoint, "exchange")
    session = await exchanging(lost, bank)
    await exchange.wait_until_reached()
    await interrupt(lost, rows, session)
    await other.maintenance.housekeeping.resume_overdue_logins()
    ended = await other.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "exchange_interrupted")


async def test_an_unexpected_error_ends_the_login_when_it_expires_and_revokes_its_tokens(
    replica: Replica, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(replica.login.account_linker, "validate", crash)
    session = await exchanging(replica, bank)
    with capture_log_events() as logs:
        await replica.core.tasks.drain(20)
        assert (await replica.login.sessions.get(CALLER, session.id)).status is SessionStatus.EXCHANGING
        await rows.change_session(session.id, expires_at=seconds_from_now(-1), lease_until=seconds_from_now(-1))
        await replica.maintenance.housekeeping.resume_overdue_logins()
        ended = await replica.ended(session)
    assert (ended.status, ended.error_code) == (SessionStatus.FAILED, "internal_error")
    assert "login_crashed" in [line["event"] for line in logs]
    await replica.core.tasks.drain(20)
    while await replica.connections.revocation_worker.revoke_due():
        pass
    assert await living_families_at(bank) == 0


async def test_tokens_that_arrive_after_another_replica_ended_the_login_are_revoked(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    exchange = stop_after(monkeypatch, slow.bank.token_endpoint, "exchange")
    session = await exchanging(slow, bank)
    await exchange.wait_until_reached()
    await rows.change_session(session.id, lease_until=seconds_from_now(-1))
    await other.maintenance.housekeeping.resume_overdue_logins()
    ended = await other.ended(session)
    assert ended.error_code == "exchange_interrupted"
    exchange.open()
    assert await slow.core.tasks.drain(20) == []
    assert await rows.count(connections) == 0
    await other.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_a_late_token_response_is_not_stored_in_an_ended_session(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await replicas(options=IMPATIENT_BROWSER), await replicas()
    exchange = stop_after(monkeypatch, slow.bank.token_endpoint, "exchange")
    session = await exchanging(slow, bank)
    await exchange.wait_until_reached()
    await rows.change_session(session.id, lease_until=seconds_from_now(-1))
    await other.maintenance.housekeeping.resume_overdue_logins()
    await other.ended(session)
    exchange.open()
    assert await slow.core.tasks.drain(20) == []
    assert (await other.login.sessions.get(CALLER, session.id)).token_response is None


async def test_erasing_a_user_during_a_login_leaves_no_valid_tokens(
    replicas: ReplicaFactory, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await replicas(options=IMPATIENT_BROWSER)
    exchange = stop_after(monkeypatch, replica.bank.token_endpoint, "exchange")
    session = await exchanging(replica, bank)
    await exchange.wait_until_reached()
    await replica.connections.disconnect.erase_user(CALLER, session.user_id)
    exchange.open()
    assert await replica.core.tasks.drain(20) == []
    await replica.connections.revocation_worker.revoke_due()
    assert await living_families_at(bank) == 0


async def test_two_replicas_that_complete_the_same_login_link_it_once(
    replicas: ReplicaFactory, rows: Rows, bank: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await replicas(options=IMPATIENT_BROWSER), await replicas()
    validations = [stop_before(monkeypatch, replica.login.account_linker, "validate") for replica in (first, second)]
    session = await exchanging(first, bank)
    await validations[0].wait_until_reached()
    await rows.change_session(session.id, lease_until=seconds_from_now(-1))
    await second.maintenance.housekeeping.resume_overdue_logins()
    await validations[1].wait_until_reached()
    for validation in validations:
        validation.open()
    assert await first.core.tasks.drain(20) == []
    assert await second.core.tasks.drain(20) == []
    assert (await second.ended(session)).status is SessionStatus.COMPLETED
    assert await rows.count(connections) == 1
    assert await rows.count(revocations) == 0
    assert await living_families_at(bank) == 1
