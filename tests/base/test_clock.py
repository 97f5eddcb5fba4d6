from datetime import UTC

from app.base.clock import SystemClock


def test_the_system_clock_is_in_utc_and_is_monotonic() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
