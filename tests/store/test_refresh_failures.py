import pytest

from app.store.enums import ConnectionStatus, RefreshCause, RefreshOutcome
from app.store.refresh_attempts import count_recent_rejections
from tests.support.refresh_protocol import RefreshProtocol
from tests.support.rows import Rows


@pytest.mark.parametrize(
    "outcome",
    [RefreshOutcome.NOT_SENT, RefreshOutcome.CLIENT_REFUSED, RefreshOutcome.RATE_LIMITED, RefreshOutcome.BAD_ANSWER],
)
async def test_a_failure_ends_the_lease_and_delays_the_next_attempt(
    protocol: RefreshProtocol, rows: Rows, outcome: RefreshOutcome
) -> None:
    await protocol.fail(await protocol.claim_when_free(), outcome, retry_in=100)
    held = await rows.stored(protocol.connection_id)
    assert held.tokens is not None
    assert held.connection.lease_until is None
    assert 90 < held.seconds_until_retry <= 100
    assert (held.connection.failures, held.connection.last_failure) == (1, outcome)
    assert await rows.attempts(protocol.connection_id) == [(1, outcome)]
    assert await protocol.claim() is None


async def test_an_unknown_outcome_keeps_the_lease_to_its_end(protocol: RefreshProtocol, rows: Rows) -> None:
    await protocol.fail(await protocol.claim_when_free(lease=100), RefreshOutcome.UNKNOWN, retry_in=0)
    held = await rows.stored(protocol.connection_id)
    assert 90 < held.seconds_leased <= 100
    assert held.connection.retry_at == held.connection.lease_until
    assert await protocol.claim() is None


async def test_a_late_failure_does_not_change_a_later_claim(protocol: RefreshProtocol, rows: Rows) -> None:
    first = await protocol.claim_when_free(lease=-1)
    await protocol.claim_when_free()
    before = (await rows.stored(protocol.connection_id)).connection
    await protocol.fail(first, RefreshOutcome.BANK_FAILED, retry_in=100)
    assert (await rows.stored(protocol.connection_id)).connection == before


@pytest.mark.parametrize("outcome", [RefreshOutcome.UNKNOWN, RefreshOutcome.BANK_FAILED, RefreshOutcome.BAD_ANSWER])
async def test_an_invalid_grant_after_a_possibly_spent_token_is_a_lost_outcome(
    protocol: RefreshProtocol, rows: Rows, outcome: RefreshOutcome
) -> None:
    await protocol.fail(await protocol.claim_when_free(), outcome)
    await rows.allow_another_refresh(protocol.connection_id)
    claim = await protocol.claim_when_free()
    assert claim.follows_unknown
    assert await protocol.record_invalid_grant(claim) is RefreshOutcome.OUTCOME_LOST
    held = await rows.stored(protocol.connection_id)
    assert held.tokens is not None
    assert held.connection.reauthorization_reason == "refresh_outcome_lost"


@pytest.mark.parametrize(
    "outcome", [RefreshOutcome.NOT_SENT, RefreshOutcome.CLIENT_REFUSED, RefreshOutcome.RATE_LIMITED]
)
async def test_an_invalid_grant_for_an_unspent_token_is_a_withdrawn_consent(
    protocol: RefreshProtocol, rows: Rows, outcome: RefreshOutcome
) -> None:
    await protocol.fail(await protocol.claim_when_free(), outcome)
    await rows.allow_another_refresh(protocol.connection_id)
    claim = await protocol.claim_when_free()
    assert not claim.follows_unknown
    assert await protocol.record_invalid_grant(claim) is RefreshOutcome.INVALID_GRANT
    connection = (await rows.stored(protocol.connection_id)).connection
    assert connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert connection.reauthorization_reason == "invalid_grant"
    assert connection.access_token_expires_at is None


async def test_unknown_attempts_of_earlier_versions_do_not_count(protocol: RefreshProtocol, rows: Rows) -> None:
    await protocol.fail(await protocol.claim_when_free(), RefreshOutcome.UNKNOWN)
    await rows.allow_another_refresh(protocol.connection_id)
    await protocol.save(await protocol.claim_when_free())
    assert not (await protocol.claim_when_free(2)).follows_unknown


@pytest.mark.parametrize("values", [{"version": 2}, {"fence": 9}, {"status": ConnectionStatus.REVOKED}])
async def test_an_invalid_grant_is_ignored_if_the_connection_has_changed(
    protocol: RefreshProtocol, rows: Rows, values: dict[str, object]
) -> None:
    claim = await protocol.claim_when_free()
    await rows.change_connection(protocol.connection_id, **values)
    assert await protocol.record_invalid_grant(claim) is RefreshOutcome.SUPERSEDED
    assert (await rows.stored(protocol.connection_id)).tokens is not None
    assert await rows.attempts(protocol.connection_id) == [(1, "superseded")]


async def test_only_refreshes_for_rejected_tokens_are_counted(protocol: RefreshProtocol, rows: Rows) -> None:
    causes = (RefreshCause.REJECTED, RefreshCause.EXPIRED, RefreshCause.REJECTED, RefreshCause.REQUESTED)
    for version, cause in enumerate(causes, start=1):
        await protocol.save(await protocol.claim_when_free(version, cause=cause))
    await protocol.fail(await protocol.claim_when_free(5, cause=RefreshCause.REJECTED), RefreshOutcome.NOT_SENT)
    async with protocol.database.transaction() as transaction:
        assert await count_recent_rejections(transaction, protocol.connection_id, 60) == 2
        assert await count_recent_rejections(transaction, protocol.connection_id, -1) == 0
