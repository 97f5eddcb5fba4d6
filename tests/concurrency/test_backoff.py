from hypothesis import given
from hypothesis import strategies as st

from app.concurrency.backoff import exponential_backoff, with_jitter


@given(st.floats(min_value=0, max_value=1e6))
def test_jitter_shortens_a_pause_by_at_most_half(seconds: float) -> None:
    assert seconds / 2 <= with_jitter(seconds) <= seconds


@given(st.integers(min_value=0, max_value=10**9))
def test_a_pause_doubles_up_to_its_maximum_after_any_number_of_failures(failures: int) -> None:
    without_jitter = 60.0 if failures > 5 else 2.0**failures
    assert without_jitter / 2 <= exponential_backoff(failures, initial=1.0, maximum=60.0) <= without_jitter
