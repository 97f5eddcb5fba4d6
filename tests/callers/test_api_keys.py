import re

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.callers.api_keys import new_api_key, parse_api_key

KEY = "brk_AAAAAAAAAAAA_" + "B" * 43


def test_a_new_key_can_be_parsed() -> None:
    key = new_api_key()
    text = key.secret.get_secret_value()
    assert re.fullmatch(r"brk_[A-Za-z0-9]{12}_[A-Za-z0-9]{49}", text)
    assert text.startswith(f"{key.prefix}_")
    assert parse_api_key(text) == key


def test_new_keys_differ() -> None:
    assert len({new_api_key().prefix for _ in range(50)}) == 50


@given(st.data())
def test_a_typo_is_detected(data: st.DataObject) -> None:
    text = new_api_key().secret.get_secret_value()
    position = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    replacement = data.draw(st.characters().filter(lambda character: character != text[position]))
    assert parse_api_key(text[:position] + replacement + text[position + 1 :]) is None


@given(st.text())
def test_other_text_is_not_a_key(text: str) -> None:
    assert parse_api_key(text) is None
    assert parse_api_key(KEY + text) is None


def test_a_key_with_text_around_it_is_not_a_key() -> None:
    text = new_api_key().secret.get_secret_value()
    assert parse_api_key(text + "\n") is None
    assert parse_api_key(f" {text}") is None


def test_the_hash_depends_on_key_and_hashing_key() -> None:
    key, other = new_api_key(), new_api_key()
    first, second = SecretStr("first"), SecretStr("second")
    assert key.keyed_hash(first) == key.keyed_hash(first)
    assert len({key.keyed_hash(first), key.keyed_hash(second), other.keyed_hash(first)}) == 3


def test_the_repr_of_a_key_does_not_reveal_it() -> None:
    key = new_api_key()
    assert key.secret.get_secret_value() not in repr(key)
