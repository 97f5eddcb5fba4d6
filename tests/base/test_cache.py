import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.base.cache import Memory
from tests.support.clock import SteerableClock
from tests.support.eventually import eventually


class Source:
    """Gives its value when it is let, and counts how often it was asked."""

    def __init__(self, value: str = "value") -> None:
        self.value = value
        self.asked = 0
        self.go = asyncio.Event()

    async def __call__(self) -> str:
        self.asked += 1
        value = self.value
        await self.go.wait()
        return value


def at_once(value: str) -> Callable[[], Awaitable[str]]:
    async def source() -> str:
        return value

    return source


@pytest.fixture
def memory(clock: SteerableClock) -> Memory[str, str]:
    return Memory(lifetime=60, size=3, clock=clock)


async def test_concurrent_readers_share_one_read(memory: Memory[str, str]) -> None:
    source = Source()
    readers = [asyncio.create_task(memory.read("key", source)) for _ in range(10)]
    await asyncio.sleep(0)
    source.go.set()
    assert await asyncio.gather(*readers) == ["value"] * 10
    assert source.asked == 1
    assert memory.get("key") == "value"


async def test_a_reader_that_goes_away_takes_nothing_from_the_others(memory: Memory[str, str]) -> None:
    source = Source()
    first, second = (asyncio.create_task(memory.read("key", source)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    source.go.set()
    assert await second == "value"
    assert memory.get("key") == "value"


@pytest.mark.parametrize("notice", ["forget", "forget_where", "forget_all"])
async def test_a_value_is_not_remembered_when_a_notice_came_while_it_was_read(
    memory: Memory[str, str], notice: str
) -> None:
    source = Source("old")
    reader = asyncio.create_task(memory.read("key", source))
    await asyncio.sleep(0)
    {
        "forget": lambda: memory.forget("key"),
        "forget_where": lambda: memory.forget_where(lambda _: False),
        "forget_all": memory.forget_all,
    }[notice]()
    newer = Source("new")
    newer.go.set()
    assert await memory.read("key", newer) == "new"
    source.go.set()
    assert await reader == "old"
    assert memory.get("key") == "new"


async def test_a_notice_of_others_does_not_keep_a_value_from_being_remembered(memory: Memory[str, str]) -> None:
    sources = {"mine": Source("mine"), "theirs": Source("theirs")}
    readers = [asyncio.create_task(memory.read(key, source)) for key, source in sources.items()]
    await asyncio.sleep(0)
    memory.forget_where(lambda value: value == "theirs")
    for source in sources.values():
        source.go.set()
    assert await asyncio.gather(*readers) == ["mine", "theirs"]
    assert (memory.get("mine"), memory.get("theirs")) == ("mine", None)


async def test_a_failed_read_is_everybodys_and_is_not_remembered(memory: Memory[str, str]) -> None:
    async def failing() -> str:
        await asyncio.sleep(0)
        raise LookupError("gone")

    readers = [asyncio.create_task(memory.read("key", failing)) for _ in range(3)]
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 3
    assert memory.get("key") is None
    assert await memory.read("key", at_once("value")) == "value"


async def test_a_failed_read_leaves_a_newer_one_alone(memory: Memory[str, str]) -> None:
    go = asyncio.Event()

    async def failing() -> str:
        await go.wait()
        raise LookupError("gone")

    first = asyncio.create_task(memory.read("key", failing))
    await asyncio.sleep(0)
    memory.forget("key")
    newer = Source("new")
    second = asyncio.create_task(memory.read("key", newer))
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(LookupError):
        await first
    newer.go.set()
    assert await second == "new"
    assert memory.get("key") == "new"


async def test_a_value_is_forgotten_after_its_lifetime(memory: Memory[str, str], clock: SteerableClock) -> None:
    await memory.read("key", at_once("value"))
    clock.advance(50)
    assert memory.get("key") == "value"
    clock.advance(11)
    assert memory.get("key") is None


async def test_what_is_too_old_does_not_stay_in_the_process(clock: SteerableClock) -> None:
    memory: Memory[str, str] = Memory(lifetime=0.05, size=3, clock=clock)
    await memory.read("key", at_once("secret"))

    async def is_empty() -> bool:
        return len(memory) == 0

    await eventually(is_empty)


async def test_it_is_bounded(memory: Memory[str, str]) -> None:
    for number in range(10):
        await memory.read(str(number), at_once("value"))
    assert len(memory) == 3


async def test_only_what_matches_is_forgotten(memory: Memory[str, str]) -> None:
    await memory.read("one", at_once("mine"))
    await memory.read("two", at_once("yours"))
    memory.forget_where(lambda value: value == "mine")
    assert (memory.get("one"), memory.get("two")) == (None, "yours")
    memory.forget("two")
    memory.forget("unknown")
    assert len(memory) == 0


async def test_nothing_is_remembered_with_a_lifetime_of_zero(clock: SteerableClock) -> None:
    memory: Memory[str, str] = Memory(lifetime=0, size=3, clock=clock)
    assert await memory.read("key", at_once("value")) == "value"
    assert memory.get("key") is None
