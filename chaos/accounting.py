"""Compares the bank's ledger with the broker's records of one connection, and reports every difference.

Versions and refresh tokens are matched by their order: the first token of a family that was presented belongs to
version 1, the next one to version 2, and so on, because a version only changes after its token was presented.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise

from chaos.bank import Family
from chaos.records import Attempt, Record

REPORTED_LOSS = "refresh_outcome_lost"
# After these outcomes the bank may have rotated the token. The only way to find out is to present it again.
_UNCERTAIN = ("unknown", "bank_failed", "bad_answer")
_DONE = ("refreshed", "invalid_grant", REPORTED_LOSS)
_REVOKED_ON_PURPOSE = ("revoked_by_client", "revoked_by_user")
# A claim records when its transaction began, but its lease starts slightly later.
_CLOCK_GRAIN = timedelta(milliseconds=500)


class Kind(StrEnum):
    """What must never happen, except `reported`: a scenario says how often that may happen."""

    LOST = "lost"
    TWICE = "twice"
    UNACCOUNTED = "unaccounted"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between the ledger and the records."""

    kind: Kind
    connection_id: str
    sentence: str


def judge(record: Record, family: Family, *, lease: float) -> list[Finding]:
    """Return all findings about one connection. `lease` is the shortest lease of its refreshes, in seconds."""
    findings = [
        *((Kind.TWICE, sentence) for sentence in _refreshed_twice(record, family, timedelta(seconds=lease))),
        *((Kind.UNACCOUNTED, sentence) for sentence in _unaccounted(record)),
        *_final_state_findings(record, family),
    ]
    return [Finding(kind, record.connection_id, sentence) for kind, sentence in findings]


def _refreshed_twice(record: Record, family: Family, lease: timedelta) -> Iterator[str]:
    presented = [token for token in family.tokens if token.presented]
    for version in range(1, max(len(presented), record.version) + 1):
        attempts = [attempt for attempt in record.attempts if attempt.version == version]
        times = presented[version - 1].presented if version <= len(presented) else 0
        if times > len(attempts):
            yield f"version {version} was presented {times} times, on {len(attempts)} recorded intents"
        elif times > 1 + sum(_may_be_repeated(*pair) for pair in pairwise(attempts)):
            yield f"version {version} was presented {times} times: {_describe_attempts(attempts)}"
        if sum(attempt.outcome == "refreshed" for attempt in attempts) > 1:
            yield f"version {version} was refreshed more than once: {_describe_attempts(attempts)}"
        for earlier, later in pairwise(attempts):
            if not _has_ended(earlier, later) and later.started_at < earlier.started_at + lease - _CLOCK_GRAIN:
                yield f"version {version} was claimed again within its lease: {_describe_attempts(attempts)}"
            if _has_ended(earlier, later) and earlier.outcome in _DONE:
                yield f"version {version} was claimed again after its end: {_describe_attempts(attempts)}"


def _may_be_repeated(earlier: Attempt, later: Attempt) -> bool:
    """Return whether the outcome of `earlier` was unknown when `later` began, even if it was recorded afterwards."""
    return earlier.outcome in _UNCERTAIN or not _has_ended(earlier, later)


def _has_ended(earlier: Attempt, later: Attempt) -> bool:
    # A claim that finds an abandoned attempt closes it, with the time of its own start.
    return earlier.ended_at is not None and earlier.ended_at < later.started_at


def _unaccounted(record: Record) -> Iterator[str]:
    if record.status == "revoked":
        return
    for attempt in record.attempts:
        if attempt.outcome is None:
            yield f"the attempt on version {attempt.version} has no outcome"
    expected = list(range(1, record.version))
    refreshed = sorted(attempt.version for attempt in record.attempts if attempt.outcome == "refreshed")
    if refreshed != expected:
        story = _describe_attempts([attempt for attempt in record.attempts if attempt.version not in refreshed])
        yield f"at version {record.version}, the attempts say that {refreshed} were refreshed; the others: {story}"
    if sorted(record.audited) != [version + 1 for version in expected]:
        yield f"at version {record.version}, the audit has refreshes to {list(record.audited)}"


def _final_state_findings(record: Record, family: Family) -> Iterator[tuple[Kind, str]]:
    """Check the final state of the connection."""
    unspent = {token.digest for token in family.tokens if not token.presented}
    ended = f"ended as {record.reason}; {_describe_attempts(record.attempts[-3:])}"
    at_bank = "alive" if family.is_alive else f"dead ({family.death_reason})"
    match record.status:
        case "active" if not family.is_alive:
            yield Kind.LOST, f"active, and {at_bank} at the bank; {_describe_attempts(record.attempts[-3:])}"
        case "active" if record.current_token not in unspent and not record.spooled & unspent:
            yield Kind.UNACCOUNTED, f"holds a spent refresh token; {_describe_attempts(record.attempts[-3:])}"
        case "active":
            pass
        case "revoked" if record.current_token is not None:
            yield Kind.UNACCOUNTED, "is revoked but still has tokens"
        case "revoked" if family.death_reason not in _REVOKED_ON_PURPOSE:
            yield Kind.UNACCOUNTED, f"is revoked here, and {at_bank} at the bank"
        case "revoked":
            pass
        case _ if record.reason == REPORTED_LOSS and not family.is_alive:
            yield Kind.REPORTED, ended
        case _:
            yield Kind.LOST, f"{ended}; {at_bank} at the bank"


def _describe_attempts(attempts: Sequence[Attempt]) -> str:
    return ", ".join(f"v{attempt.version} {attempt.outcome or 'open'}" for attempt in attempts) or "no attempt"
