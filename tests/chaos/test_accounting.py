"""The accounting of `make chaos`: a verdict is worth no more than what it would notice."""

from datetime import UTC, datetime, timedelta

import pytest

from chaos.accounting import Kind, judge
from chaos.bank import Family, RefreshToken
from chaos.records import Attempt, Record

LEASE = 4.0
START = datetime(2025, 1, 1, tzinfo=UTC)


def family(*presented: int, death_reason: str | None = None) -> Family:
    """A family whose tokens were presented so often; their digests are `t1`, `t2` and so on."""
    tokens = [RefreshToken(f"t{number}", number, times) for number, times in enumerate(presented, 1)]
    return Family(death_reason, tokens)


def attempt(version: int, outcome: str | None, *, began: float = 0, ended: float | None = None) -> Attempt:
    """An attempt whose times are seconds from the start; it takes half a second unless told otherwise."""
    ends = began + 0.5 if ended is None else ended
    ended_at = None if outcome is None else START + timedelta(seconds=ends)
    return Attempt(version, int(began * 10), outcome, START + timedelta(seconds=began), ended_at)


def record(
    *attempts: Attempt,
    status: str = "active",
    reason: str | None = None,
    held: str | None = "t1",
    audited: tuple[int, ...] | None = None,
    spooled: frozenset[str] = frozenset(),
) -> Record:
    """What the broker says, consistent in itself unless told otherwise."""
    version = 1 + len({one.version for one in attempts if one.outcome == "refreshed"})
    wanted = tuple(range(2, version + 1)) if audited is None else audited
    return Record("con_1", status, reason, version, held, spooled, attempts, wanted)


def kinds(record: Record, family: Family) -> list[Kind]:
    """What the accounting finds."""
    return [finding.kind for finding in judge(record, family, lease=LEASE)]


UNTOUCHED = (record(), family(0))
REFRESHED = (record(attempt(1, "refreshed"), held="t2"), family(1, 0))
LOST_AND_REPORTED = (
    record(
        attempt(1, "unknown", ended=5),
        attempt(1, "refresh_outcome_lost", began=5),
        status="reauthorization_required",
        reason="refresh_outcome_lost",
        held=None,
    ),
    family(2, 0, death_reason="refresh_token_reused"),
)
RECOVERED_IN_THE_GRACE = (
    record(attempt(1, "unknown", ended=5), attempt(1, "refreshed", began=5), held="t3"),
    family(2, 0, 0),
)
SAVED_AFTER_ANOTHER_CLAIM = (
    record(attempt(1, "refreshed", ended=9), attempt(1, "superseded", began=5), held="t2"),
    family(2, 0, 0),
)
REVOKED = (record(status="revoked", held=None), family(0, death_reason="revoked_by_client"))


@pytest.mark.parametrize(
    "sides", [UNTOUCHED, REFRESHED, RECOVERED_IN_THE_GRACE, SAVED_AFTER_ANOTHER_CLAIM, REVOKED], ids=range(5)
)
def test_what_may_happen_is_no_finding(sides: tuple[Record, Family]) -> None:
    assert kinds(*sides) == []


def test_a_loss_that_the_broker_reports_is_counted_as_that() -> None:
    assert kinds(*LOST_AND_REPORTED) == [Kind.REPORTED]


def test_an_end_that_is_blamed_on_the_user_is_a_loss() -> None:
    ended = record(attempt(1, "invalid_grant"), status="reauthorization_required", reason="invalid_grant", held=None)
    assert kinds(ended, family(1, death_reason="refresh_token_reused")) == [Kind.LOST]


def test_giving_up_what_the_bank_would_still_refresh_is_a_loss() -> None:
    ended = LOST_AND_REPORTED[0]
    assert kinds(ended, family(2, 0)) == [Kind.LOST]


def test_a_connection_that_is_active_here_and_dead_at_the_bank_is_a_loss() -> None:
    assert kinds(REFRESHED[0], family(1, 0, death_reason="refresh_token_reused")) == [Kind.LOST]


def test_a_token_presented_again_although_its_outcome_was_known_is_noticed() -> None:
    again = record(attempt(1, "refreshed"), attempt(1, "superseded", began=5), held="t2")
    assert Kind.TWICE in kinds(again, family(2, 0, 0))


def test_a_token_presented_without_an_intent_is_noticed() -> None:
    assert kinds(record(attempt(1, "refreshed"), held="t2"), family(2, 0, 0)) == [Kind.TWICE]


def test_a_claim_within_the_lease_of_another_one_is_noticed() -> None:
    early = record(attempt(1, "unknown", began=0, ended=2), attempt(1, "refreshed", began=2), held="t3")
    assert kinds(early, family(2, 0, 0)) == [Kind.TWICE]


def test_two_successes_of_one_version_are_noticed() -> None:
    twice = record(attempt(1, "refreshed", ended=9), attempt(1, "refreshed", began=5), held="t2")
    assert Kind.TWICE in kinds(twice, family(2, 0, 0))


def test_a_spent_token_in_hand_is_noticed() -> None:
    assert kinds(record(attempt(1, "unknown")), family(1, 0)) == [Kind.UNACCOUNTED]


def test_a_new_token_on_disk_is_accounted_for() -> None:
    assert kinds(record(attempt(1, "unknown"), spooled=frozenset({"t2"})), family(1, 0)) == []


def test_an_attempt_without_an_outcome_is_noticed() -> None:
    assert kinds(record(attempt(1, None)), family(0)) == [Kind.UNACCOUNTED]


def test_a_version_that_no_attempt_refreshed_is_noticed() -> None:
    moved = Record("con_1", "active", None, 2, "t2", frozenset(), (attempt(1, "superseded"),), (2,))
    assert kinds(moved, family(1, 0)) == [Kind.UNACCOUNTED]


def test_a_refresh_that_the_audit_does_not_know_is_noticed() -> None:
    assert kinds(record(attempt(1, "refreshed"), held="t2", audited=()), family(1, 0)) == [Kind.UNACCOUNTED]


def test_a_deleted_connection_that_lives_on_at_the_bank_is_noticed() -> None:
    assert kinds(record(status="revoked", held=None), family(0)) == [Kind.UNACCOUNTED]
