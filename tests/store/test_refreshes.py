import asyncio

import pytest
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.errors import DecryptionError
from app.store.connections import TokenSet
from app.store.enums import ConnectionStatus, RefreshOutcome
from app.store.postgresql.database import Database
from app.store.postgresql.database_time import seconds_from_now
from app.store.refreshes import (
    NewTokens,
    SaveResult,
)
from app.store.tables import tokens
from sandbox.client import EVERY_SCOPE
from tests.support.refresh_protocol import NEW_TOKENS, RefreshProtocol
from tests.support.rows import Rows


async def test_a_claim_is_exclusive(protocol: RefreshProtocol, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    # The grace period after the start of the server would hide the effect of the lease.
    monkeypatch.setattr("app.store.refreshes._GRACE_PERIOD_SECONDS", 0.0)
    claims = [claim for claim in await asyncio.gather(*(protocol.claim() for _ in range(20))) if claim]
    (claim,) = claims
    assert (claim.version, claim.fence, claim.follows_unknown) == (1, 1, False)
    assert claim.refresh_token.get_secret_value() == "a refresh token"
    assert "a refresh token" not in repr(claim)
    assert await rows.attempts(protocol.connection_id) == [(1, None)]


async def test_an_ended_lease_can_be_claimed_again_with_a_higher_fence(protocol: RefreshProtocol, rows: Rows) -> None:
    await protocol.claim_when_free(lease=-1)
    second = await protocol.claim_when_free()
    assert (second.fence, second.follows_unknown) == (2, True)
    assert await rows.attempts(protocol.connection_id) == [(1, "unknown"), (1, None)]


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
async def test_a_connection_that_must_not_be_refreshed_is_not_claimed(
    protocol: RefreshProtocol, rows: Rows, values: dict[str, object]
) -> None:
    await rows.change_connection(protocol.connection_id, **values)
    assert await protocol.claim() is None
    assert await rows.attempts(protocol.connection_id) == []


async def test_a_claim_without_a_refresh_token_fails_and_changes_nothing(
    protocol: RefreshProtocol, database: Database, rows: Rows
) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(tokens.update().values(refresh_token=None))
    with pytest.raises(LookupError):
        await protocol.claim()
    assert (await rows.stored(protocol.connection_id)).connection.fence == 0


async def test_a_claim_with_a_missing_encryption_key_changes_nothing(protocol: RefreshProtocol, rows: Rows) -> None:
    stranger = RefreshProtocol(
        protocol.database, KeyRing({"other": bytes(32)}), protocol.client, protocol.connection_id
    )
    with pytest.raises(DecryptionError):
        await stranger.claim()
    assert (await rows.stored(protocol.connection_id)).connection.fence == 0


async def test_a_save_increments_the_version(protocol: RefreshProtocol, rows: Rows) -> None:
    await rows.change_connection(
        protocol.connection_id, failures=3, last_failure="unknown", retry_at=seconds_from_now(-1)
    )
    claim = await protocol.claim_when_free()
    assert await protocol.save(claim, age=100) is SaveResult.STORED
    held = await rows.stored(protocol.connection_id)
    assert held.tokens == NEW_TOKENS.tokens
    assert 700 < held.seconds_left <= 800
    connection = held.connection
    assert (connection.version, connection.scopes, connection.refreshable) == (2, ["openid"], True)
    assert (connection.lease_until, connection.retry_at) == (None, None)
    assert (connection.failures, connection.last_failure) == (0, None)
    assert connection.last_refreshed_at is not None
    assert await rows.attempts(protocol.connection_id) == [(1, "refreshed")]
    assert await protocol.claim(version=1) is None
    assert await protocol.claim(version=2) is not None


async def test_without_rotation_the_old_refresh_token_is_kept(protocol: RefreshProtocol, rows: Rows) -> None:
    claim = await protocol.claim_when_free()
    await protocol.save(claim, NewTokens(TokenSet(SecretStr("new access"), None), 900, None))
    held = await rows.stored(protocol.connection_id)
    assert held.tokens is not None
    assert held.tokens.refresh_token == SecretStr("a refresh token")
    assert held.connection.scopes == EVERY_SCOPE.split()


async def test_a_save_after_the_end_of_the_lease_is_stored(protocol: RefreshProtocol, rows: Rows) -> None:
    claim = await protocol.claim_when_free(lease=-1)
    assert await protocol.save(claim) is SaveResult.STORED
    assert (await rows.stored(protocol.connection_id)).tokens == NEW_TOKENS.tokens


async def test_a_late_save_waits_for_a_later_claim(protocol: RefreshProtocol, rows: Rows) -> None:
    first = await protocol.claim_when_free(lease=-1)
    second = await protocol.claim_when_free()
    assert await protocol.save(first) is SaveResult.LATER_CLAIM_IN_PROGRESS
    other = NewTokens(TokenSet(SecretStr("later access"), SecretStr("later refresh")), 900, None)
    assert await protocol.save(second, other) is SaveResult.STORED
    assert await protocol.save(first) is SaveResult.SUPERSEDED
    assert (await rows.stored(protocol.connection_id)).tokens == other.tokens
    assert await rows.attempts(protocol.connection_id) == [(1, "superseded"), (1, "refreshed")]


async def test_a_late_save_recovers_a_connection_that_requires_reauthorization(
    protocol: RefreshProtocol, rows: Rows
) -> None:
    first = await protocol.claim_when_free(lease=-1)
    second = await protocol.claim_when_free()
    assert await protocol.record_invalid_grant(second) is RefreshOutcome.OUTCOME_LOST
    assert await protocol.save(first) is SaveResult.STORED
    held = await rows.stored(protocol.connection_id)
    assert held.connection.status is ConnectionStatus.ACTIVE
    assert held.connection.reauthorization_reason is None
    assert held.tokens == NEW_TOKENS.tokens


async def test_an_attempt_overtaken_by_a_late_save_may_have_spent_the_token(
    protocol: RefreshProtocol, rows: Rows
) -> None:
    first = await protocol.claim_when_free(lease=-1)
    await protocol.claim_when_free(lease=-1)
    assert await protocol.save(first) is SaveResult.STORED
    # The second may have presented the old token, so a rejection of the new one does not mean a withdrawn consent.
    assert (await protocol.claim_when_free(version=2)).follows_unknown
    assert await rows.attempts(protocol.connection_id) == [(1, "refreshed"), (1, "unknown"), (2, None)]


async def test_a_repeated_save_keeps_its_outcome(protocol: RefreshProtocol, rows: Rows) -> None:
    claim = await protocol.claim_when_free()
    assert await protocol.save(claim) is SaveResult.STORED
    await protocol.save(claim)
    assert await rows.attempts(protocol.connection_id) == [(1, "refreshed")]


async def test_tokens_of_a_revoked_connection_are_not_stored(protocol: RefreshProtocol, rows: Rows) -> None:
    claim = await protocol.claim_when_free()
    await rows.change_connection(protocol.connection_id, status=ConnectionStatus.REVOKED)
    assert await protocol.save(claim) is SaveResult.REVOKED
    assert (await rows.stored(protocol.connection_id)).connection.version == 1
    assert await rows.attempts(protocol.connection_id) == [(1, "revoked")]


async def test_tokens_of_another_user_are_not_stored(protocol: RefreshProtocol, rows: Rows) -> None:
    claim = await protocol.claim_when_free()
    new = NewTokens(NEW_TOKENS.tokens, 900, None, subject="somebody else")
    assert await protocol.save(claim, new) is SaveResult.SUBJECT_MISMATCH
    held = await rows.stored(protocol.connection_id)
    assert held.tokens is not None
    assert held.connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert held.connection.reauthorization_reason == "subject_mismatch"


async def test_tokens_of_the_same_user_are_stored(protocol: RefreshProtocol) -> None:
    claim = await protocol.claim_when_free()
    assert await protocol.save(claim, NewTokens(NEW_TOKENS.tokens, 900, None, subject="somebody")) is SaveResult.STORED
