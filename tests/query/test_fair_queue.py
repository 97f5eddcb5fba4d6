import asyncio

import pytest

from app.errors import BrokerUnavailable
from app.query.fair_queue import FairQueue


async def test_a_tenant_with_much_work_does_not_delay_another_tenant() -> None:
    queue, done = FairQueue(), list[str]()

    async def work(tenant: str) -> None:
        async with queue.turn(tenant, "x"):
            done.append(tenant)

    await asyncio.gather(*(work("a") for _ in range(50)), work("b"))
    assert done.index("b") <= 2
    assert done.count("a") == 50


async def test_a_cancelled_task_leaves_its_turn_to_the_next() -> None:
    queue = FairQueue()
    async with queue.turn("a", "x"):
        waiting = asyncio.create_task(_take_a_turn(queue))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
    async with asyncio.timeout(20):
        await _take_a_turn(queue)


async def _take_a_turn(queue: FairQueue) -> None:
    async with queue.turn("a", "x"):
        pass


async def test_failing_work_does_not_delay_another_tenant() -> None:
    queue, done = FairQueue(), list[str]()

    async def fail() -> None:
        async with queue.turn("a", "x"):
            done.append("a")
            raise LookupError

    async def work() -> None:
        async with queue.turn("b", "x"):
            done.append("b")

    results = await asyncio.gather(*(fail() for _ in range(50)), work(), return_exceptions=True)
    assert sum(isinstance(result, LookupError) for result in results) == 50
    assert done.index("b") <= 2


async def test_a_caller_with_much_work_does_not_delay_another_caller_of_its_tenant() -> None:
    queue, done = FairQueue(), list[str]()

    async def work(caller: str) -> None:
        async with queue.turn("a", caller):
            done.append(caller)

    await asyncio.gather(*(work("busy") for _ in range(50)), work("modest"))
    assert done.index("modest") <= 2


async def test_waiting_for_a_turn_ends_after_the_timeout() -> None:
    queue = FairQueue(timeout_seconds=0.05)
    async with queue.turn("a", "x"):
        for caller in ("x", "y"):
            with pytest.raises(BrokerUnavailable) as rejected:
                async with queue.turn("a", caller):
                    pass
            assert rejected.value.code == "too_many_queries"
    async with queue.turn("a", "y"):
        pass
    assert not queue._callers
    assert not queue._tenants
