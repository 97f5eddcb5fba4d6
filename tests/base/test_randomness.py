import re

from hypothesis import given
from hypothesis import strategies as st

from app.base import randomness


def test_opaque_values_suit_stitch_and_pkce() -> None:
    values = {randomness.opaque_value() for _ in range(100)}
    assert len(values) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in values)


def test_identifiers_carry_their_prefix() -> None:
    first, second = randomness.identifier("con"), randomness.identifier("con")
    assert re.fullmatch(r"con_[0-9a-f]{24}", first)
    assert first != second


def test_bytes_and_texts_have_the_length_asked_for() -> None:
    assert len(randomness.random_bytes(12)) == 12
    assert set(randomness.random_text("ab", 200)) == {"a", "b"}


@given(st.floats(min_value=0, max_value=1e6))
def test_jitter_never_prolongs_nor_more_than_halves(seconds: float) -> None:
    assert seconds / 2 <= randomness.jitter(seconds) <= seconds


@given(st.integers(min_value=0, max_value=10**9))
def test_a_pause_doubles_up_to_its_bound_however_many_failures_there_were(failures: int) -> None:
    whole = 60.0 if failures > 5 else 2.0**failures
    assert whole / 2 <= randomness.back_off(failures, first=1.0, longest=60.0) <= whole


def test_the_digest_is_sha_256() -> None:
    assert randomness.digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.text(), st.text())
def test_secrets_compare_as_texts_do(left: str, right: str) -> None:
    assert randomness.same(left, right) == (left == right)
    assert randomness.same(left, left)
