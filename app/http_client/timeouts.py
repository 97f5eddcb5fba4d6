"""How long a connection waits."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """The times for a request, in ticks of the pool's clock, and how many seconds a connection may be idle."""

    first_byte: int
    between_bytes: int
    whole: int
    idle: float


def ticks(seconds: float, tick: float) -> int:
    """Return after how many ticks that time has passed for sure: the first of them is under way already."""
    return math.ceil(seconds / tick) + 1
