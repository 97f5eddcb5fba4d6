import asyncio

import pytest
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.errors import DecryptionError
from app.store.connections import TokenSet
from app.store.enums import ConnectionStatus, RefreshCause, RefreshOutcome
from app.store.postgresql.database import Database
from app.store.postgresql.database_time import seconds_from_now
from app.store.refresh_attempts import count_recent_rejections
from app.store.refreshes import (
    Claim,
    NewTokens,
    SaveResult,
    claim_refresh,
    fail_refresh,
    record_invalid_grant,
    save_refresh,
)
from app.store.tables import tokens
from sandbox.client import EVERY_SCOPE
from tests.support.eventually import eventually
from tests.support.rows import TENANT, Rows

NEW = NewTokens(TokenSet(SecretStr("new access"), SecretStr("new refresh")), 900, ["openid"])


class Protocol:
    """Claims, saves and failures of one connection, each in a transaction of its own."""

    def __init__(self, database: Database, key_ring: KeyRing, connection_id: str) -> None:
        self.database = database
        self.key_ring = key_ring
        self.id = connection_id

    async def claim(
        self, version: int = 1, *, lease: float = 100, cause: RefreshCause = RefreshCause.EXPIRED
    ) -> Claim | None:
        async with self.database.transaction() as transaction:
            return await claim_refresh(
                transaction,
                self.key_ring,
                tenant=TENANT,
                connection_id=self.id,
                version=version,
                cause=cause,
                replica="rep_1",
                lease=lease,
            )

    async def won(self, version: int = 1, *, lease: float = 100, cause: RefreshCause = RefreshCause.EXPIRED) -> Claim:
        """Claim until it is granted: just after the server's start, abandoned attempts are waited for."""

        async def claim() -> Claim | None:
            return await self.claim(version, lease=lease, cause=cause)

        claim_ = await eventually(claim)
        assert claim_ is not None
        return claim_

    async def save(self, claim: Claim, new: NewTokens = NEW, *, age: float = 0) -> SaveResult:
        async with self.database.transaction() as transaction:
            return await save_refresh(transaction, self.key_ring, claim, new, age=age)

    async def fail(self, claim: Claim, outcome: RefreshOutcome, *, retry_in: float = 0) -> None:
        async with self.database.transaction() as transaction:
            await fail_refresh(transaction, claim, outcome, retry_in=retry_in)

    async def end(self, claim: Claim) -> RefreshOutcome:
        async with self.database.transaction() as transaction:
            return await record_invalid_grant(transaction, claim)


@pytest.fixture
async def protocol(database: Database, key_ring: KeyRing, rows: Rows) -> Protocol:
    return Protocol(database, key_ring, (await rows.insert(seconds_left=-1)).id)


async def test_a_claim_is_exclusive(protocol: Protocol, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    # Just after the server's start another rule would hide what the lease does.
    monkeypatch.setattr("app.store.refreshes._GRACE_PERIOD_SECONDS", 0.0)
    claims = [claim for claim in await asyncio.gather(*(protocol.claim() for _ in range(20))) if claim]
    (claim,) = claims
    assert (claim.version, claim.fence, claim.follows_unknown) == (1, 1, False)
    assert claim.refresh_token.get_secret_value() == "a refresh token"
    assert "a refresh token" not in repr(claim)
    assert await rows.attempts(protocol.id) == [(1, None)]


async def test_a_lease_that_has_ended_can_be_claimed_again_and_the_fence_rises(protocol: Protocol, rows: Rows) -> None:
    await protocol.won(lease=-1)
    second = await protocol.won()
    assert (second.fence, second.follows_unknown) == (2, True)
    assert await rows.attempts(protocol.id) == [(1, "unknown"), (1, None)]


@pytest.mark.parametrize(
    "values",
    [
        {"version": 2},
        {"status": ConnectionStatus.REVOKED},
        {"status": ConnectionStatus.PENDING_CONFIRMATION},
        {"status": ConnectionStatus.REAUTHORIZATION_REQUIRED},
        {"refreshable": False},
        {"retry_at": seconds_from_now(100)},
        {"tenant": "elsewhere"},
    ],
)
async def test_what_must_not_be_refreshed_is_not_claimed(
    protocol: Protocol, rows: Rows, values: dict[str, object]
) -> None:
    await rows.change_connection(protocol.id, **values)
    assert await protocol.claim() is None
    assert await rows.attempts(protocol.id) == []


async def test_a_claim_without_a_refresh_token_is_a_fault_that_leaves_nothing(
    protocol: Protocol, database: Database, rows: Rows
) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(tokens.update().values(refresh_token=None))
    with pytest.raises(LookupError):
        await protocol.claim()
    assert (await rows.held(protocol.id)).connection.fence == 0


async def test_a_claim_with_a_lost_key_spends_nothing(protocol: Protocol, rows: Rows) -> None:
    stranger = Protocol(protocol.database, KeyRing({"other": bytes(32)}), protocol.id)
    with pytest.raises(DecryptionError):
        await stranger.claim()
    assert (await rows.held(protocol.id)).connection.fence == 0


async def test_a_save_moves_the_version_on(protocol: Protocol, rows: Rows) -> None:
    await rows.change_connection(protocol.id, failures=3, last_failure="unknown", retry_at=seconds_from_now(-1))
    claim = await protocol.won()
    assert await protocol.save(claim, age=100) is SaveResult.STORED
    held = await rows.held(protocol.id)
    assert held.tokens == NEW.tokens
    assert 700 < held.seconds_left <= 800
    connection = held.connection
    assert (connection.version, connection.scopes, connection.refreshable) == (2, ["openid"], True)
    assert (connection.lease_until, connection.retry_at) == (None, None)
    assert (connection.failures, connection.last_failure) == (0, None)
    assert connection.last_refreshed_at is not None
    assert await rows.attempts(protocol.id) == [(1, "refreshed")]
    assert await protocol.claim(version=1) is None
    assert await protocol.claim(version=2) is not None


async def test_a_bank_that_does_not_rotate_leaves_the_old_refresh_token(protocol: Protocol, rows: Rows) -> None:
    claim = await protocol.won()
    await protocol.save(claim, NewTokens(TokenSet(SecretStr("new access"), None), 900, None))
    held = await rows.held(protocol.id)
    assert held.tokens is not None
    assert held.tokens.refresh_token == SecretStr("a refresh token")
    assert held.connection.scopes == EVERY_SCOPE.split()


async def test_a_late_save_is_the_only_successor_and_is_stored(protocol: Protocol, rows: Rows) -> None:
    claim = await protocol.won(lease=-1)
    assert await protocol.save(claim) is SaveResult.STORED
    assert (await rows.held(protocol.id)).tokens == NEW.tokens


async def test_a_late_save_waits_for_a_later_claim(protocol: Protocol, rows: Rows) -> None:
    first = await protocol.won(lease=-1)
    second = await protocol.won()
    assert await protocol.save(first) is SaveResult.LATER_CLAIM_IN_PROGRESS
    other = NewTokens(TokenSet(SecretStr("later access"), SecretStr("later refresh")), 900, None)
    assert await protocol.save(second, other) is SaveResult.STORED
    assert await protocol.save(first) is SaveResult.SUPERSEDED
    assert (await rows.held(protocol.id)).tokens == other.tokens
    assert await rows.attempts(protocol.id) == [(1, "superseded"), (1, "refreshed")]


async def test_a_late_save_brings_back_what_was_given_up(protocol: Protocol, rows: Rows) -> None:
    first = await protocol.won(lease=-1)
    second = await protocol.won()
    assert await protocol.end(second) is RefreshOutcome.OUTCOME_LOST
    assert await protocol.save(first) is SaveResult.STORED
    held = await rows.held(protocol.id)
    assert held.connection.status is ConnectionStatus.ACTIVE
    assert held.connection.reauthorization_reason is None
    assert held.tokens == NEW.tokens


async def test_an_attempt_that_a_late_save_overtook_is_accounted_for(protocol: Protocol, rows: Rows) -> None:
    first = await protocol.won(lease=-1)
    await protocol.won(lease=-1)
    assert await protocol.save(first) is SaveResult.STORED
    # The second may have presented the used token, so a refusal of the new one would be no word of the user's.
    assert (await protocol.won(version=2)).follows_unknown
    assert await rows.attempts(protocol.id) == [(1, "refreshed"), (1, "unknown"), (2, None)]


async def test_a_save_that_is_repeated_stays_a_refresh(protocol: Protocol, rows: Rows) -> None:
    claim = await protocol.won()
    assert await protocol.save(claim) is SaveResult.STORED
    await protocol.save(claim)
    assert await rows.attempts(protocol.id) == [(1, "refreshed")]


async def test_tokens_of_a_connection_that_was_revoked_are_not_stored(protocol: Protocol, rows: Rows) -> None:
    claim = await protocol.won()
    await rows.change_connection(protocol.id, status=ConnectionStatus.REVOKED)
    assert await protocol.save(claim) is SaveResult.REVOKED
    assert (await rows.held(protocol.id)).connection.version == 1
    assert await rows.attempts(protocol.id) == [(1, "revoked")]


async def test_tokens_of_another_user_are_not_stored(protocol: Protocol, rows: Rows) -> None:
    claim = await protocol.won()
    new = NewTokens(NEW.tokens, 900, None, subject="somebody else")
    assert await protocol.save(claim, new) is SaveResult.SUBJECT_MISMATCH
    held = await rows.held(protocol.id)
    assert held.tokens is None
    assert held.connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert held.connection.reauthorization_reason == "subject_mismatch"


async def test_tokens_of_the_same_user_are_stored(protocol: Protocol) -> None:
    claim = await protocol.won()
    assert await protocol.save(claim, NewTokens(NEW.tokens, 900, None, subject="somebody")) is SaveResult.STORED


@pytest.mark.parametrize(
    "outcome",
    [RefreshOutcome.NOT_SENT, RefreshOutcome.CLIENT_REFUSED, RefreshOutcome.RATE_LIMITED, RefreshOutcome.BAD_ANSWER],
)
async def test_a_failure_frees_the_lease_and_asks_for_a_pause(
    protocol: Protocol, rows: Rows, outcome: RefreshOutcome
) -> None:
    await protocol.fail(await protocol.won(), outcome, retry_in=100)
    held = await rows.held(protocol.id)
    assert held.tokens is not None
    assert held.connection.lease_until is None
    assert 90 < held.seconds_until_retry <= 100
    assert (held.connection.failures, held.connection.last_failure) == (1, outcome)
    assert await rows.attempts(protocol.id) == [(1, outcome)]
    assert await protocol.claim() is None


async def test_an_unknown_outcome_keeps_its_lease_to_the_end(protocol: Protocol, rows: Rows) -> None:
    await protocol.fail(await protocol.won(lease=100), RefreshOutcome.UNKNOWN, retry_in=0)
    held = await rows.held(protocol.id)
    assert 90 < held.seconds_leased <= 100
    assert held.connection.retry_at == held.connection.lease_until
    assert await protocol.claim() is None


async def test_a_failure_that_comes_late_changes_nothing_for_others(protocol: Protocol, rows: Rows) -> None:
    first = await protocol.won(lease=-1)
    await protocol.won()
    before = (await rows.held(protocol.id)).connection
    await protocol.fail(first, RefreshOutcome.BANK_FAILED, retry_in=100)
    assert (await rows.held(protocol.id)).connection == before


@pytest.mark.parametrize("outcome", [RefreshOutcome.UNKNOWN, RefreshOutcome.BANK_FAILED, RefreshOutcome.BAD_ANSWER])
async def test_a_refusal_after_a_possibly_spent_token_is_a_lost_outcome(
    protocol: Protocol, rows: Rows, outcome: RefreshOutcome
) -> None:
    await protocol.fail(await protocol.won(), outcome)
    await rows.let_refresh_be_tried_again(protocol.id)
    claim = await protocol.won()
    assert claim.follows_unknown
    assert await protocol.end(claim) is RefreshOutcome.OUTCOME_LOST
    held = await rows.held(protocol.id)
    assert held.tokens is None
    assert held.connection.reauthorization_reason == "refresh_outcome_lost"


@pytest.mark.parametrize(
    "outcome", [RefreshOutcome.NOT_SENT, RefreshOutcome.CLIENT_REFUSED, RefreshOutcome.RATE_LIMITED]
)
async def test_a_refusal_after_a_token_that_cannot_be_spent_is_the_users_word(
    protocol: Protocol, rows: Rows, outcome: RefreshOutcome
) -> None:
    await protocol.fail(await protocol.won(), outcome)
    await rows.let_refresh_be_tried_again(protocol.id)
    claim = await protocol.won()
    assert not claim.follows_unknown
    assert await protocol.end(claim) is RefreshOutcome.INVALID_GRANT
    connection = (await rows.held(protocol.id)).connection
    assert connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert connection.reauthorization_reason == "invalid_grant"
    assert connection.access_token_expires_at is None


async def test_unknown_attempts_of_earlier_versions_do_not_count(protocol: Protocol, rows: Rows) -> None:
    await protocol.fail(await protocol.won(), RefreshOutcome.UNKNOWN)
    await rows.let_refresh_be_tried_again(protocol.id)
    await protocol.save(await protocol.won())
    assert not (await protocol.won(2)).follows_unknown


@pytest.mark.parametrize("values", [{"version": 2}, {"fence": 9}, {"status": ConnectionStatus.REVOKED}])
async def test_a_refusal_is_not_believed_when_something_else_has_happened(
    protocol: Protocol, rows: Rows, values: dict[str, object]
) -> None:
    claim = await protocol.won()
    await rows.change_connection(protocol.id, **values)
    assert await protocol.end(claim) is RefreshOutcome.SUPERSEDED
    assert (await rows.held(protocol.id)).tokens is not None
    assert await rows.attempts(protocol.id) == [(1, "superseded")]


async def test_only_refreshes_for_rejected_tokens_are_counted(protocol: Protocol, rows: Rows) -> None:
    causes = (RefreshCause.REJECTED, RefreshCause.EXPIRED, RefreshCause.REJECTED, RefreshCause.REQUESTED)
    for version, cause in enumerate(causes, start=1):
        await protocol.save(await protocol.won(version, cause=cause))
    await protocol.fail(await protocol.won(5, cause=RefreshCause.REJECTED), RefreshOutcome.NOT_SENT)
    async with protocol.database.transaction() as transaction:
        assert await count_recent_rejections(transaction, protocol.id, 60) == 2
        assert await count_recent_rejections(transaction, protocol.id, -1) == 0
