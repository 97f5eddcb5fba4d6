import re

from app.base import randomness


def test_random_urlsafe_texts_suit_stitch_and_pkce() -> None:
    values = {randomness.random_urlsafe_text() for _ in range(100)}
    assert len(values) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in values)


def test_ids_start_with_their_prefix() -> None:
    first, second = randomness.new_id("con"), randomness.new_id("con")
    assert re.fullmatch(r"con_[0-9a-f]{24}", first)
    assert first != second


def test_random_bytes_and_texts_have_the_requested_length() -> None:
    assert len(randomness.random_bytes(12)) == 12
    assert len(randomness.random_text("ab", 200)) == 200
    assert set(randomness.random_text("ab", 200)) == {"a", "b"}
