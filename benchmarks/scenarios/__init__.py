"""What is measured, in this order. A scenario prints its figures, and gives its promises to the report."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.scenarios import cache, growth, large_answer, logins, proxying, start, workers
from benchmarks.stage import Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name for the command line, what it is about, and how it is measured."""

    name: str
    title: str
    measure: Callable[[Stage], Awaitable[None]]
    is_quick: bool
    """Whether the quick form has it: it promises something that a busy machine can tell as well."""


SCENARIOS = (
    Scenario("proxying", "a query with a warm cache, beside other proxies", proxying.measure, is_quick=True),
    Scenario("workers", "two workers beside one", workers.measure, is_quick=False),
    Scenario(
        "growth", "a query with a cold cache, in a small database and in a large one", growth.measure, is_quick=True
    ),
    Scenario("cache", "the memory that remembered connections take", cache.measure, is_quick=True),
    Scenario("large-answer", "the memory that a large answer takes", large_answer.measure, is_quick=True),
    Scenario("logins", "starting a session, and its callback", logins.measure, is_quick=False),
    Scenario("start", "from the command to readiness", start.measure, is_quick=False),
)
