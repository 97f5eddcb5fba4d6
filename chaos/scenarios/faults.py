"""The bank fails, or rejects the broker's credentials. Neither may end a connection."""

import asyncio
from dataclasses import dataclass, replace
from itertools import cycle

from chaos.links import Link
from chaos.load import Answer, summary
from chaos.replicas import Replica
from chaos.stage import SHORT_LEASES, Stage

_RETRY_AFTER = 3
_GRACE = 300
_CIRCUIT_OPEN = "bank_left_alone"


@dataclass(frozen=True, slots=True)
class _Fault:
    """A fault of the bank, the outcome that the broker records, and the reason that the first caller gets."""

    name: str
    at_bank: dict[str, object]
    outcome: str
    code: str
    grace: float = 0


_FAULTS = (
    _Fault("500", {"status": 500}, "bank_failed", "bank_failed"),
    _Fault("429", {"status": 429, "retry_after": _RETRY_AFTER}, "rate_limited", "bank_rate_limited"),
    _Fault("garbage", {"garbage": True}, "bad_answer", "bank_bad_answer"),
    # Half a response is a lost response: only a grace period for reuse allows another refresh.
    _Fault("half a response", {"half_answer": True}, "bad_answer", "bank_bad_answer", _GRACE),
    _Fault("silence for 60 s", {"hang": 60}, "unknown", "bank_outcome_unknown"),
)
_REFUSED = _Fault("a wrong secret", {}, "invalid_client", "bank_refused_client")


async def bank_faults(stage: Stage) -> None:
    """Test one fault after the other, and clear each one before the next."""
    replicas = await stage.replicas(SHORT_LEASES)
    for fault in _FAULTS:
        await stage.cluster.bank.set_faults(token=fault.at_bank, refresh_reuse_grace=fault.grace)
        links = await _query_during_fault(stage, replicas, fault)
        await stage.cluster.bank.clear_faults()
        await _check_recovery(stage, replicas, links, fault)
        if fault.outcome == "rate_limited":
            pauses = [await stage.cluster.links.seconds_between_attempts(link) for link in links[: len(replicas)]]
            stage.expect(
                min(pauses) >= _RETRY_AFTER,
                f"Retry-After {_RETRY_AFTER} was ignored: retried after {min(pauses):.1f} s",
            )


async def wrong_secret(stage: Stage) -> None:
    """Deploy a wrong secret to every replica, and correct it with another deployment."""
    corrected = replace(SHORT_LEASES, count=2)
    broken = replace(corrected, variables={"BROKER_STITCH_CLIENT_SECRET": "wrong"})
    links = await _query_during_fault(stage, await stage.replicas(broken), _REFUSED)
    await _check_recovery(stage, await stage.replicas(corrected), links, _REFUSED)


async def _query_during_fault(stage: Stage, replicas: list[Replica], fault: _Fault) -> list[Link]:
    """Query a separate connection on each replica, twice, and on one of them one whose token is still valid."""
    links, (valid,) = await stage.link(len(replicas)), await stage.link(1, seconds_left=25)
    query = stage.cluster.caller.query
    first = await asyncio.gather(*map(query, replicas, links))
    second = await asyncio.gather(*map(query, replicas, links))
    with_valid_token = await query(replicas[0], valid)
    stage.log(
        f"{fault.name}: {summary(first)}; then {summary(second)}; with a valid token: {summary([with_valid_token])}"
    )
    stage.expect(
        all(_is_failure(answer, fault.code) for answer in first), f"{fault.name} was returned as {summary(first)}"
    )
    later = {fault.code, f"refresh_{fault.outcome}", _CIRCUIT_OPEN}
    stage.expect(
        all(_is_failure(answer, *later) for answer in second), f"{fault.name} was then returned as {summary(second)}"
    )
    stage.expect(with_valid_token.is_good, f"{fault.name} failed a query whose token was valid")
    outcomes = set(await stage.cluster.links.outcomes(links))
    stage.expect(outcomes == {fault.outcome}, f"{fault.name} was recorded as {outcomes}")
    await stage.expire(valid)
    return [*links, valid]


async def _check_recovery(stage: Stage, replicas: list[Replica], links: list[Link], fault: _Fault) -> None:
    """Query each replica separately, because each has its own circuit breaker."""
    answers = await asyncio.gather(
        *(stage.query_until_final(link, [replica]) for link, replica in zip(links, cycle(replicas)))
    )
    stage.expect(all(answer.is_good for answer in answers), f"after {fault.name}: {summary(answers)}")


def _is_failure(answer: Answer, *codes: str) -> bool:
    return answer.status in (502, 504) and answer.reason in codes
