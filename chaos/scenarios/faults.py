"""A bank that is out of order, and a broker that the bank refuses: no connection may end by either."""

import asyncio
from dataclasses import dataclass, replace
from itertools import cycle

from chaos.links import Link
from chaos.load import Answer, summary
from chaos.replicas import Replica
from chaos.stage import BRISK, Stage

_RETRY_AFTER = 3
_GRACE = 300
_LEFT_ALONE = "bank_left_alone"


@dataclass(frozen=True, slots=True)
class _Fault:
    """What the bank does, how the broker records it, and what it tells the first caller."""

    name: str
    at_bank: dict[str, object]
    outcome: str
    code: str
    grace: float = 0


_FAULTS = (
    _Fault("500", {"status": 500}, "bank_failed", "bank_failed"),
    _Fault("429", {"status": 429, "retry_after": _RETRY_AFTER}, "rate_limited", "bank_rate_limited"),
    _Fault("garbage", {"garbage": True}, "bad_answer", "bank_bad_answer"),
    # Half an answer is a lost answer, which only a bank that allows reuse can make up for.
    _Fault("half an answer", {"half_answer": True}, "bad_answer", "bank_bad_answer", _GRACE),
    _Fault("silence for 60 s", {"hang": 60}, "unknown", "bank_outcome_unknown"),
)
_REFUSED = _Fault("a wrong secret", {}, "invalid_client", "bank_refused_client")


async def bank_out_of_order(stage: Stage) -> None:
    """One fault after the other; each is kept apart from the others, and mended."""
    replicas = await stage.replicas(BRISK)
    for fault in _FAULTS:
        await stage.cluster.bank.misbehave(token=fault.at_bank, refresh_reuse_grace=fault.grace)
        links = await _suffer(stage, replicas, fault)
        await stage.cluster.bank.behave()
        await _recover(stage, replicas, links, fault)
        if fault.outcome == "rate_limited":
            pauses = [await stage.cluster.links.pause(link) for link in links[: len(replicas)]]
            stage.expect(min(pauses) >= _RETRY_AFTER, f"Retry-After {_RETRY_AFTER} was cut to {min(pauses):.1f} s")


async def wrong_secret(stage: Stage) -> None:
    """Deployed to every replica, and mended by another deployment."""
    mended = replace(BRISK, count=2)
    broken = replace(mended, variables={"BROKER_STITCH_CLIENT_SECRET": "wrong"})
    links = await _suffer(stage, await stage.replicas(broken), _REFUSED)
    await _recover(stage, await stage.replicas(mended), links, _REFUSED)


async def _suffer(stage: Stage, replicas: list[Replica], fault: _Fault) -> list[Link]:
    """Ask each replica for a connection of its own, twice, and one of them for one whose token is still good."""
    links, (living,) = await stage.link(len(replicas)), await stage.link(1, seconds_left=25)
    ask = stage.cluster.caller.query
    first = await asyncio.gather(*map(ask, replicas, links))
    second = await asyncio.gather(*map(ask, replicas, links))
    still_good = await ask(replicas[0], living)
    stage.note(f"{fault.name}: {summary(first)}; then {summary(second)}; with a good token: {summary([still_good])}")
    stage.expect(all(_tells(answer, fault.code) for answer in first), f"{fault.name} was told as {summary(first)}")
    later = {fault.code, f"refresh_{fault.outcome}", _LEFT_ALONE}
    stage.expect(all(_tells(answer, *later) for answer in second), f"{fault.name} was then told as {summary(second)}")
    stage.expect(still_good.is_good, f"{fault.name} was noticed by a caller whose token was good")
    outcomes = set(await stage.cluster.links.outcomes(links))
    stage.expect(outcomes == {fault.outcome}, f"{fault.name} was recorded as {outcomes}")
    await stage.expire(living)
    return [*links, living]


async def _recover(stage: Stage, replicas: list[Replica], links: list[Link], fault: _Fault) -> None:
    """Each replica on its own, since each has its own idea of whether the bank is to be left alone."""
    answers = await asyncio.gather(*(stage.insist(link, [one]) for link, one in zip(links, cycle(replicas))))
    stage.expect(all(one.is_good for one in answers), f"after {fault.name}: {summary(answers)}")


def _tells(answer: Answer, *codes: str) -> bool:
    return answer.status in (502, 504) and answer.reason in codes
