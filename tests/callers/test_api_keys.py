import re

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.callers.api_keys import new_api_key, parse_api_key

KEY = "brk_AAAAAAAAAAAA_" + "B" * 43


def test_a_new_key_is_read_back() -> None:
    key = new_api_key()
    text = key.secret.get_secret_value()
    assert re.fullmatch(r"brk_[A-Za-z0-9]{12}_[A-Za-z0-9]{49}", text)
    assert text.startswith(f"{key.prefix}_")
    assert parse_api_key(text) == key


def test_keys_differ() -> None:
    assert len({new_api_key().prefix for _ in range(50)}) == 50


@given(st.data())
def test_a_typing_error_does_not_pass(data: st.DataObject) -> None:
    text = new_api_key().secret.get_secret_value()
    position = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    replacement = data.draw(st.characters().filter(lambda character: character != text[position]))
    assert parse_api_key(text[:position] + replacement + text[position + 1 :]) is None


@given(st.text())
def test_other_texts_are_no_keys(text: str) -> None:
    assert parse_api_key(text) is None
    assert parse_api_key(KEY + text) is None


def test_a_key_with_something_after_it_is_none() -> None:
    text = new_api_key().secret.get_secret_value()
    assert parse_api_key(text + "\n") is None
    assert parse_api_key(f" {text}") is None


def test_the_hash_depends_on_key_and_hashing_key() -> None:
    key, other = new_api_key(), new_api_key()
    first, second = SecretStr("first"), SecretStr("second")
    assert key.keyed_hash(first) == key.keyed_hash(first)
    assert len({key.keyed_hash(first), key.keyed_hash(second), other.keyed_hash(first)}) == 3


def test_a_key_does_not_print() -> None:
    key = new_api_key()
    assert key.secret.get_secret_value() not in repr(key)
