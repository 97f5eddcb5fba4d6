"""All scenarios, in the order in which they run. A scenario prints its figures and reports them with their limits."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.scenarios import cache, growth, large_answer, logins, proxying, start, workers
from benchmarks.stage import Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, with its name for the command line and a title to print."""

    name: str
    title: str
    measure: Callable[[Stage], Awaitable[None]]
    is_quick: bool
    """Whether the quick run includes it: its limits are also meaningful on a busy machine."""


SCENARIOS = (
    Scenario("proxying", "a query with a warm cache, compared with other proxies", proxying.measure, is_quick=True),
    Scenario("workers", "two workers compared with one", workers.measure, is_quick=False),
    Scenario(
        "growth", "a query with a cold cache, in a small database and in a large one", growth.measure, is_quick=True
    ),
    Scenario("cache", "the memory of cached connections", cache.measure, is_quick=True),
    Scenario("large-answer", "the memory for a large response", large_answer.measure, is_quick=True),
    Scenario("logins", "starting a session, and its callback", logins.measure, is_quick=False),
    Scenario("start", "from the command to readiness", start.measure, is_quick=False),
)
