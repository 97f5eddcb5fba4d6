import asyncio

import pytest

from app.concurrency.keyed_lock import KeyedSemaphore


async def test_a_key_is_locked_for_others_until_it_is_released() -> None:
    locks: KeyedSemaphore[str] = KeyedSemaphore()
    await locks.acquire("a")
    waiting = asyncio.create_task(locks.acquire("a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    locks.release("a")
    await waiting
    locks.release("a")


async def test_a_locked_key_does_not_lock_other_keys() -> None:
    locks: KeyedSemaphore[str] = KeyedSemaphore()
    await locks.acquire("a")
    await locks.acquire("b", timeout_seconds=0.01)


async def test_waiting_tasks_acquire_a_key_in_their_order() -> None:
    locks: KeyedSemaphore[str] = KeyedSemaphore()
    order: list[int] = []

    async def work(number: int) -> None:
        await locks.acquire("a")
        order.append(number)
        locks.release("a")

    await locks.acquire("a")
    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0)
    locks.release("a")
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_no_more_tasks_than_the_size_acquire_a_key() -> None:
    semaphores: KeyedSemaphore[str] = KeyedSemaphore(2)
    await semaphores.acquire("a")
    await semaphores.acquire("a")
    with pytest.raises(TimeoutError):
        await semaphores.acquire("a", timeout_seconds=0.01)
    semaphores.release("a")
    await semaphores.acquire("a", timeout_seconds=0.01)


async def test_a_key_is_forgotten_once_it_is_released() -> None:
    locks: KeyedSemaphore[str] = KeyedSemaphore()
    await locks.acquire("a")
    assert len(locks) == 1
    locks.release("a")
    assert len(locks) == 0


async def test_a_key_that_another_task_waits_for_is_not_forgotten() -> None:
    locks: KeyedSemaphore[str] = KeyedSemaphore()
    await locks.acquire("a")
    waiting = asyncio.create_task(locks.acquire("a"))
    await asyncio.sleep(0)
    locks.release("a")
    with pytest.raises(TimeoutError):
        await locks.acquire("a", timeout_seconds=0.01)
    await waiting
    locks.release("a")
    assert len(locks) == 0


async def test_a_task_that_stops_waiting_leaves_the_key_to_others() -> None:
    locks: KeyedSemaphore[str] = KeyedSemaphore()
    await locks.acquire("a")
    with pytest.raises(TimeoutError):
        await locks.acquire("a", timeout_seconds=0.01)
    waiting = asyncio.create_task(locks.acquire("a"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    locks.release("a")
    assert len(locks) == 0


async def test_a_key_that_no_task_has_acquired_cannot_be_released() -> None:
    with pytest.raises(KeyError):
        KeyedSemaphore[str]().release("a")
