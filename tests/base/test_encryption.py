import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.base.encryption import Binding, Ciphertext, KeyRing, generate_key
from app.errors import ConfigurationError, DecryptionError

HERE = Binding("tokens", "access_token", "con_1", 3)
ELSEWHERE = [
    Binding("sessions", "access_token", "con_1", 3),
    Binding("tokens", "refresh_token", "con_1", 3),
    Binding("tokens", "access_token", "con_2", 3),
    Binding("tokens", "access_token", "con_1", 4),
]
SECRET = SecretStr("the secret")


def encoded(byte: bytes) -> str:
    return base64.b64encode(byte * 32).decode()


@given(st.text(), st.text(), st.integers(min_value=0))
def test_what_was_encrypted_opens_where_it_belongs(secret: str, row: str, version: int) -> None:
    key_ring, binding = KeyRing.parse(f"a:{encoded(b'1')}"), Binding("t", "c", row, version)
    sealed = key_ring.encrypt(SecretStr(secret), binding)
    assert key_ring.decrypt(sealed, binding).get_secret_value() == secret


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_a_ciphertext_that_was_moved_does_not_open(key_ring: KeyRing, elsewhere: Binding) -> None:
    with pytest.raises(DecryptionError):
        key_ring.decrypt(key_ring.encrypt(SECRET, HERE), elsewhere)


@given(st.data())
def test_an_altered_ciphertext_does_not_open(data: st.DataObject) -> None:
    key_ring = KeyRing.parse(f"a:{encoded(b'1')}")
    text = key_ring.encrypt(SECRET, HERE).text
    position = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    altered = text[:position] + data.draw(st.characters()) + text[position + 1 :]
    try:
        opened = key_ring.decrypt(Ciphertext(altered), HERE)
    except DecryptionError:
        return
    # Base64 has several spellings of the same bytes.
    assert base64.urlsafe_b64decode(altered.rpartition(".")[2]) == base64.urlsafe_b64decode(text.rpartition(".")[2])
    assert opened == SECRET


@given(st.text())
def test_text_that_is_no_ciphertext_does_not_open(text: str) -> None:
    with pytest.raises(DecryptionError):
        KeyRing.parse(f"a:{encoded(b'1')}").decrypt(Ciphertext(text), HERE)


@pytest.mark.parametrize("length", [0, 5, 12, 20])
def test_a_truncated_ciphertext_does_not_open(key_ring: KeyRing, length: int) -> None:
    prefix, _, body = key_ring.encrypt(SECRET, HERE).text.rpartition(".")
    short = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body)[:length]).decode()
    with pytest.raises(DecryptionError):
        key_ring.decrypt(Ciphertext(f"{prefix}.{short}"), HERE)


def test_equal_secrets_have_different_ciphertexts(key_ring: KeyRing) -> None:
    assert key_ring.encrypt(SECRET, HERE) != key_ring.encrypt(SECRET, HERE)


def test_after_a_rotation_old_ciphertexts_open_and_new_ones_have_the_new_key() -> None:
    old = KeyRing.parse(f"a:{encoded(b'1')}")
    rotated = KeyRing.parse(f"b:{encoded(b'2')}, a:{encoded(b'1')}")
    assert rotated.key_ids == ("b", "a")
    assert rotated.decrypt(old.encrypt(SECRET, HERE), HERE) == SECRET
    assert rotated.encrypt(SECRET, HERE).key_id == rotated.primary == "b"


def test_a_key_that_is_missing_is_named() -> None:
    sealed = KeyRing.parse(f"lost:{encoded(b'1')}").encrypt(SECRET, HERE)
    with pytest.raises(DecryptionError, match="'lost'"):
        KeyRing.parse(f"a:{encoded(b'1')}").decrypt(sealed, HERE)


def test_another_key_of_the_same_name_does_not_open_it() -> None:
    sealed = KeyRing.parse(f"a:{encoded(b'1')}").encrypt(SECRET, HERE)
    with pytest.raises(DecryptionError, match="another key of the name 'a'"):
        KeyRing.parse(f"a:{encoded(b'2')}").decrypt(sealed, HERE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        f"{encoded(b'1')}",
        f":{encoded(b'1')}",
        f"a b:{encoded(b'1')}",
        f"{'a' * 33}:{encoded(b'1')}",
        "a:not base64!",
        "a:" + base64.b64encode(b"short").decode(),
        "a:" + base64.b64encode(b"1" * 33).decode(),
        f"a:{encoded(b'1')},a:{encoded(b'2')}",
        f"a:{encoded(b'1')},",
    ],
)
def test_a_key_ring_that_cannot_be_read_is_refused_without_its_keys(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        KeyRing.parse(text)
    assert encoded(b"1") not in refused.value.detail
    assert encoded(b"2") not in refused.value.detail


def test_a_generated_key_fits_the_key_ring() -> None:
    first, second = generate_key().get_secret_value(), generate_key().get_secret_value()
    assert first != second
    assert KeyRing.parse(f"a:{first},b:{second}").key_ids == ("a", "b")


def test_neither_keys_nor_ciphertexts_print(key_ring: KeyRing) -> None:
    sealed = key_ring.encrypt(SECRET, HERE)
    assert sealed.text not in repr(sealed)
    assert "the secret" not in repr(sealed)
