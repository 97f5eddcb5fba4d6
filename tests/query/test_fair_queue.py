import asyncio

import pytest

from app.errors import BrokerUnavailable
from app.query.fair_queue import Turns


async def test_one_piece_of_each_tenant_at_a_time_and_the_others_in_between() -> None:
    turns, done = Turns(), list[str]()

    async def work(tenant: str) -> None:
        async with turns.of(tenant, "x"):
            done.append(tenant)

    await asyncio.gather(*(work("a") for _ in range(50)), work("b"))
    assert done.index("b") <= 2
    assert done.count("a") == 50


async def test_who_is_cancelled_leaves_the_turn_to_the_next() -> None:
    turns = Turns()
    async with turns.of("a", "x"):
        waiting = asyncio.create_task(asyncio.wait_for(_take(turns), 0.01))
        await asyncio.sleep(0.02)
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], TimeoutError)
    async with asyncio.timeout(20):
        await _take(turns)


async def _take(turns: Turns) -> None:
    async with turns.of("a", "x"):
        pass


async def test_what_fails_takes_turns_too() -> None:
    turns, done = Turns(), list[str]()

    async def fail() -> None:
        async with turns.of("a", "x"):
            done.append("a")
            raise LookupError

    async def work() -> None:
        async with turns.of("b", "x"):
            done.append("b")

    results = await asyncio.gather(*(fail() for _ in range(50)), work(), return_exceptions=True)
    assert sum(isinstance(result, LookupError) for result in results) == 50
    assert done.index("b") <= 2


async def test_a_caller_with_many_pieces_holds_up_no_other_of_its_tenant() -> None:
    turns, done = Turns(), list[str]()

    async def work(caller: str) -> None:
        async with turns.of("a", caller):
            done.append(caller)

    await asyncio.gather(*(work("busy") for _ in range(50)), work("modest"))
    assert done.index("modest") <= 2


async def test_a_turn_that_does_not_come_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.query.fair_queue._PATIENCE", 0.05)
    turns = Turns()
    async with turns.of("a", "x"):
        for caller in ("x", "y"):
            with pytest.raises(BrokerUnavailable) as refused:
                async with turns.of("a", caller):
                    pass
            assert refused.value.code == "too_many_queries"
    async with turns.of("a", "y"):
        pass
    assert not turns._turns
