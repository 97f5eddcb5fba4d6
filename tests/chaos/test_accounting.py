"""The accounting of `make chaos` finds every difference between the bank's ledger and the broker's records."""

from datetime import UTC, datetime, timedelta

import pytest

from chaos.accounting import Kind, judge
from chaos.bank import Family, RefreshToken
from chaos.records import Attempt, Record

LEASE = 4.0
START = datetime(2025, 1, 1, tzinfo=UTC)


def family(*presented: int, death_reason: str | None = None) -> Family:
    """Return a family whose tokens were presented this often. Their digests are `t1`, `t2` and so on."""
    tokens = [RefreshToken(f"t{number}", number, times) for number, times in enumerate(presented, 1)]
    return Family(death_reason, tokens)


def attempt(version: int, outcome: str | None, *, began: float = 0, ended: float | None = None) -> Attempt:
    """Return an attempt. Its times are in seconds from START. It takes half a second unless `ended` is given."""
    ends = began + 0.5 if ended is None else ended
    ended_at = None if outcome is None else START + timedelta(seconds=ends)
    return Attempt(version, int(began * 10), outcome, START + timedelta(seconds=began), ended_at)


def record(
    *attempts: Attempt,
    status: str = "active",
    reason: str | None = None,
    current_token: str | None = "t1",
    audited: tuple[int, ...] | None = None,
    spooled: frozenset[str] = frozenset(),
) -> Record:
    """Return the records of the broker, which are consistent unless arguments say otherwise."""
    version = 1 + len({attempt.version for attempt in attempts if attempt.outcome == "refreshed"})
    audited_versions = tuple(range(2, version + 1)) if audited is None else audited
    return Record("con_1", status, reason, version, current_token, spooled, attempts, audited_versions)


def kinds(record: Record, family: Family) -> list[Kind]:
    """Return the kinds of findings."""
    return [finding.kind for finding in judge(record, family, lease=LEASE)]


UNTOUCHED = (record(), family(0))
REFRESHED = (record(attempt(1, "refreshed"), current_token="t2"), family(1, 0))
LOST_AND_REPORTED = (
    record(
        attempt(1, "unknown", ended=5),
        attempt(1, "refresh_outcome_lost", began=5),
        status="reauthorization_required",
        reason="refresh_outcome_lost",
        current_token=None,
    ),
    family(2, 0, death_reason="refresh_token_reused"),
)
RECOVERED_IN_GRACE_PERIOD = (
    record(attempt(1, "unknown", ended=5), attempt(1, "refreshed", began=5), current_token="t3"),
    family(2, 0, 0),
)
SAVED_AFTER_ANOTHER_CLAIM = (
    record(attempt(1, "refreshed", ended=9), attempt(1, "superseded", began=5), current_token="t2"),
    family(2, 0, 0),
)
REVOKED = (record(status="revoked", current_token=None), family(0, death_reason="revoked_by_client"))


@pytest.mark.parametrize(
    "sides", [UNTOUCHED, REFRESHED, RECOVERED_IN_GRACE_PERIOD, SAVED_AFTER_ANOTHER_CLAIM, REVOKED], ids=range(5)
)
def test_an_allowed_history_has_no_findings(sides: tuple[Record, Family]) -> None:
    assert kinds(*sides) == []


def test_a_loss_that_the_broker_reports_is_counted_as_reported() -> None:
    assert kinds(*LOST_AND_REPORTED) == [Kind.REPORTED]


def test_a_connection_that_wrongly_needs_the_user_again_is_a_loss() -> None:
    ended = record(
        attempt(1, "invalid_grant"), status="reauthorization_required", reason="invalid_grant", current_token=None
    )
    assert kinds(ended, family(1, death_reason="refresh_token_reused")) == [Kind.LOST]


def test_a_connection_that_ends_here_but_is_alive_at_the_bank_is_a_loss() -> None:
    ended = LOST_AND_REPORTED[0]
    assert kinds(ended, family(2, 0)) == [Kind.LOST]


def test_a_connection_that_is_active_here_but_dead_at_the_bank_is_a_loss() -> None:
    assert kinds(REFRESHED[0], family(1, 0, death_reason="refresh_token_reused")) == [Kind.LOST]


def test_a_token_presented_again_although_its_outcome_was_known_is_noticed() -> None:
    again = record(attempt(1, "refreshed"), attempt(1, "superseded", began=5), current_token="t2")
    assert Kind.TWICE in kinds(again, family(2, 0, 0))


def test_a_token_presented_without_an_intent_is_noticed() -> None:
    assert kinds(record(attempt(1, "refreshed"), current_token="t2"), family(2, 0, 0)) == [Kind.TWICE]


def test_a_claim_within_the_lease_of_another_one_is_noticed() -> None:
    early = record(attempt(1, "unknown", began=0, ended=2), attempt(1, "refreshed", began=2), current_token="t3")
    assert kinds(early, family(2, 0, 0)) == [Kind.TWICE]


def test_two_successes_of_one_version_are_noticed() -> None:
    twice = record(attempt(1, "refreshed", ended=9), attempt(1, "refreshed", began=5), current_token="t2")
    assert Kind.TWICE in kinds(twice, family(2, 0, 0))


def test_a_stored_token_that_was_already_used_is_noticed() -> None:
    assert kinds(record(attempt(1, "unknown")), family(1, 0)) == [Kind.UNACCOUNTED]


def test_a_new_token_in_a_spool_is_accounted_for() -> None:
    assert kinds(record(attempt(1, "unknown"), spooled=frozenset({"t2"})), family(1, 0)) == []


def test_an_attempt_without_an_outcome_is_noticed() -> None:
    assert kinds(record(attempt(1, None)), family(0)) == [Kind.UNACCOUNTED]


def test_a_version_that_no_attempt_refreshed_is_noticed() -> None:
    moved = Record("con_1", "active", None, 2, "t2", frozenset(), (attempt(1, "superseded"),), (2,))
    assert kinds(moved, family(1, 0)) == [Kind.UNACCOUNTED]


def test_a_refresh_that_is_missing_in_the_audit_is_noticed() -> None:
    assert kinds(record(attempt(1, "refreshed"), current_token="t2", audited=()), family(1, 0)) == [Kind.UNACCOUNTED]


def test_a_deleted_connection_that_lives_on_at_the_bank_is_noticed() -> None:
    assert kinds(record(status="revoked", current_token=None), family(0)) == [Kind.UNACCOUNTED]
