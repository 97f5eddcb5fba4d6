import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.base.cache import ExpiringCache
from tests.support.clock import AdjustableClock
from tests.support.eventually import eventually


class Loader:
    """Returns its value once `may_finish` is set, and counts its calls."""

    def __init__(self, value: str = "value") -> None:
        self.value = value
        self.calls = 0
        self.may_finish = asyncio.Event()

    async def __call__(self) -> str:
        self.calls += 1
        value = self.value
        await self.may_finish.wait()
        return value


def immediately(value: str) -> Callable[[], Awaitable[str]]:
    async def loader() -> str:
        return value

    return loader


@pytest.fixture
def cache(clock: AdjustableClock) -> ExpiringCache[str, str]:
    return ExpiringCache(lifetime=60, size=3, clock=clock)


async def test_concurrent_loads_of_one_key_share_one_call(cache: ExpiringCache[str, str]) -> None:
    loader = Loader()
    tasks = [asyncio.create_task(cache.load("key", loader)) for _ in range(10)]
    await asyncio.sleep(0)
    loader.may_finish.set()
    assert await asyncio.gather(*tasks) == ["value"] * 10
    assert loader.calls == 1
    assert cache.get("key") == "value"


async def test_a_cancelled_task_does_not_cancel_the_load_for_others(cache: ExpiringCache[str, str]) -> None:
    loader = Loader()
    first, second = (asyncio.create_task(cache.load("key", loader)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    loader.may_finish.set()
    assert await second == "value"
    assert cache.get("key") == "value"


@pytest.mark.parametrize("method", ["invalidate", "invalidate_where", "invalidate_all"])
async def test_a_value_that_is_invalidated_while_it_is_loaded_is_not_cached(
    cache: ExpiringCache[str, str], method: str
) -> None:
    loader = Loader("old")
    task = asyncio.create_task(cache.load("key", loader))
    await asyncio.sleep(0)
    {
        "invalidate": lambda: cache.invalidate("key"),
        "invalidate_where": lambda: cache.invalidate_where(lambda _: False),
        "invalidate_all": cache.invalidate_all,
    }[method]()
    newer = Loader("new")
    newer.may_finish.set()
    assert await cache.load("key", newer) == "new"
    loader.may_finish.set()
    assert await task == "old"
    assert cache.get("key") == "new"


async def test_a_value_is_cached_although_others_are_invalidated_while_it_is_loaded(
    cache: ExpiringCache[str, str],
) -> None:
    loaders = {"mine": Loader("mine"), "theirs": Loader("theirs")}
    tasks = [asyncio.create_task(cache.load(key, loader)) for key, loader in loaders.items()]
    await asyncio.sleep(0)
    cache.invalidate_where(lambda value: value == "theirs")
    for loader in loaders.values():
        loader.may_finish.set()
    assert await asyncio.gather(*tasks) == ["mine", "theirs"]
    assert (cache.get("mine"), cache.get("theirs")) == ("mine", None)


async def test_a_failed_load_fails_for_all_waiting_tasks_and_is_not_cached(cache: ExpiringCache[str, str]) -> None:
    async def failing() -> str:
        await asyncio.sleep(0)
        raise LookupError("gone")

    tasks = [asyncio.create_task(cache.load("key", failing)) for _ in range(3)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 3
    assert cache.get("key") is None
    assert await cache.load("key", immediately("value")) == "value"


async def test_a_failed_load_does_not_affect_a_newer_load(cache: ExpiringCache[str, str]) -> None:
    go = asyncio.Event()

    async def failing() -> str:
        await go.wait()
        raise LookupError("gone")

    first = asyncio.create_task(cache.load("key", failing))
    await asyncio.sleep(0)
    cache.invalidate("key")
    newer = Loader("new")
    second = asyncio.create_task(cache.load("key", newer))
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(LookupError):
        await first
    newer.may_finish.set()
    assert await second == "new"
    assert cache.get("key") == "new"


async def test_a_value_expires_after_its_lifetime(cache: ExpiringCache[str, str], clock: AdjustableClock) -> None:
    await cache.load("key", immediately("value"))
    clock.advance(50)
    assert cache.get("key") == "value"
    clock.advance(11)
    assert cache.get("key") is None


async def test_expired_values_are_removed_from_memory(clock: AdjustableClock) -> None:
    cache: ExpiringCache[str, str] = ExpiringCache(lifetime=0.05, size=3, clock=clock)
    await cache.load("key", immediately("secret"))

    async def is_empty() -> bool:
        return len(cache) == 0

    await eventually(is_empty)


async def test_the_number_of_entries_is_limited(cache: ExpiringCache[str, str]) -> None:
    for number in range(10):
        await cache.load(str(number), immediately("value"))
    assert len(cache) == 3


async def test_only_matching_values_are_invalidated(cache: ExpiringCache[str, str]) -> None:
    await cache.load("one", immediately("mine"))
    await cache.load("two", immediately("yours"))
    cache.invalidate_where(lambda value: value == "mine")
    assert (cache.get("one"), cache.get("two")) == (None, "yours")
    cache.invalidate("two")
    cache.invalidate("unknown")
    assert len(cache) == 0


async def test_a_lifetime_of_zero_caches_nothing(clock: AdjustableClock) -> None:
    cache: ExpiringCache[str, str] = ExpiringCache(lifetime=0, size=3, clock=clock)
    assert await cache.load("key", immediately("value")) == "value"
    assert cache.get("key") is None
