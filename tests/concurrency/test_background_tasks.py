import asyncio

import pytest

from app.concurrency.background_tasks import BackgroundTasks
from app.errors import BankTimeout
from tests.support.logs import capture_log_events


async def test_a_cancelled_caller_does_not_cancel_its_background_task() -> None:
    tasks, go, done = BackgroundTasks(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    async def call() -> None:
        await asyncio.shield(tasks.spawn(work(), "work"))

    caller = asyncio.create_task(call())
    await asyncio.sleep(0)
    caller.cancel()
    go.set()
    assert await tasks.drain(5) == []
    assert done.is_set()


async def test_draining_waits_for_tasks_and_names_those_it_cancels() -> None:
    tasks = BackgroundTasks()
    quick = tasks.spawn(asyncio.sleep(0, "done"), "quick")
    tasks.spawn(asyncio.Event().wait(), "b stuck")
    tasks.spawn(asyncio.Event().wait(), "a stuck")
    assert await tasks.drain(0.05) == ["a stuck", "b stuck"]
    assert quick.result() == "done"
    assert await tasks.drain(0) == []


async def test_unexpected_errors_are_logged_and_errors_for_the_caller_are_not() -> None:
    async def fail(error: Exception) -> None:
        raise error

    tasks = BackgroundTasks()
    with capture_log_events() as logs:
        tasks.spawn(fail(BankTimeout("slow")), "expected")
        tasks.spawn(fail(KeyError("oops")), "broken")
        assert await tasks.drain(5) == []
    assert [line["task"] for line in logs if line["event"] == "background_task_failed"] == ["broken"]


async def test_a_waiting_caller_gets_the_error() -> None:
    async def fail() -> None:
        raise BankTimeout("slow")

    with pytest.raises(BankTimeout):
        await asyncio.shield(BackgroundTasks().spawn(fail(), "work"))


async def test_draining_waits_for_tasks_that_other_tasks_start() -> None:
    tasks, done = BackgroundTasks(), asyncio.Event()

    async def second() -> None:
        await asyncio.sleep(0.02)
        done.set()

    async def first() -> None:
        tasks.spawn(second(), "second")

    tasks.spawn(first(), "first")
    assert await tasks.drain(5) == []
    assert done.is_set()
