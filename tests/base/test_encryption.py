import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.base.encryption import AssociatedData, Ciphertext, KeyRing, generate_key
from app.errors import ConfigurationError, DecryptionError

STORED_AT = AssociatedData("tokens", "access_token", "con_1", 3)
ELSEWSTORED_AT = [
    AssociatedData("sessions", "access_token", "con_1", 3),
    AssociatedData("tokens", "refresh_token", "con_1", 3),
    AssociatedData("tokens", "access_token", "con_2", 3),
    AssociatedData("tokens", "access_token", "con_1", 4),
]
SECRET = SecretStr("the secret")


def encoded(byte: bytes) -> str:
    return base64.b64encode(byte * 32).decode()


@given(st.text(), st.text(), st.integers(min_value=0))
def test_a_secret_can_be_decrypted_where_it_was_stored(secret: str, row: str, version: int) -> None:
    key_ring = KeyRing.parse(f"a:{encoded(b'1')}")
    associated_data = AssociatedData("t", "c", row, version)
    sealed = key_ring.encrypt(SecretStr(secret), associated_data)
    assert key_ring.decrypt(sealed, associated_data).get_secret_value() == secret


@pytest.mark.parametrize("elsewhere", ELSEWSTORED_AT)
def test_a_ciphertext_that_was_moved_cannot_be_decrypted(key_ring: KeyRing, elsewhere: AssociatedData) -> None:
    with pytest.raises(DecryptionError):
        key_ring.decrypt(key_ring.encrypt(SECRET, STORED_AT), elsewhere)


@given(st.data())
def test_an_altered_ciphertext_cannot_be_decrypted(data: st.DataObject) -> None:
    key_ring = KeyRing.parse(f"a:{encoded(b'1')}")
    text = key_ring.encrypt(SECRET, STORED_AT).text
    position = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    altered = text[:position] + data.draw(st.characters()) + text[position + 1 :]
    try:
        decrypted = key_ring.decrypt(Ciphertext(altered), STORED_AT)
    except DecryptionError:
        return
    # Base64 has several spellings of the same bytes.
    assert base64.urlsafe_b64decode(altered.rpartition(".")[2]) == base64.urlsafe_b64decode(text.rpartition(".")[2])
    assert decrypted == SECRET


@given(st.text())
def test_text_that_is_not_a_ciphertext_cannot_be_decrypted(text: str) -> None:
    with pytest.raises(DecryptionError):
        KeyRing.parse(f"a:{encoded(b'1')}").decrypt(Ciphertext(text), STORED_AT)


@pytest.mark.parametrize("length", [0, 5, 12, 20])
def test_a_truncated_ciphertext_cannot_be_decrypted(key_ring: KeyRing, length: int) -> None:
    prefix, _, body = key_ring.encrypt(SECRET, STORED_AT).text.rpartition(".")
    short = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body)[:length]).decode()
    with pytest.raises(DecryptionError):
        key_ring.decrypt(Ciphertext(f"{prefix}.{short}"), STORED_AT)


def test_equal_secrets_have_different_ciphertexts(key_ring: KeyRing) -> None:
    assert key_ring.encrypt(SECRET, STORED_AT) != key_ring.encrypt(SECRET, STORED_AT)


def test_after_a_rotation_old_ciphertexts_can_be_decrypted_and_new_ones_use_the_new_key() -> None:
    old = KeyRing.parse(f"a:{encoded(b'1')}")
    rotated = KeyRing.parse(f"b:{encoded(b'2')}, a:{encoded(b'1')}")
    assert rotated.key_ids == ("b", "a")
    assert rotated.decrypt(old.encrypt(SECRET, STORED_AT), STORED_AT) == SECRET
    assert rotated.encrypt(SECRET, STORED_AT).key_id == rotated.primary_key_id == "b"


def test_a_missing_key_is_named() -> None:
    sealed = KeyRing.parse(f"lost:{encoded(b'1')}").encrypt(SECRET, STORED_AT)
    with pytest.raises(DecryptionError, match="'lost'"):
        KeyRing.parse(f"a:{encoded(b'1')}").decrypt(sealed, STORED_AT)


def test_another_key_of_the_same_id_cannot_decrypt_it() -> None:
    sealed = KeyRing.parse(f"a:{encoded(b'1')}").encrypt(SECRET, STORED_AT)
    with pytest.raises(DecryptionError, match="different key whose id is also 'a'"):
        KeyRing.parse(f"a:{encoded(b'2')}").decrypt(sealed, STORED_AT)


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
def test_a_malformed_key_ring_is_refused_without_showing_its_keys(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        KeyRing.parse(text)
    assert encoded(b"1") not in refused.value.detail
    assert encoded(b"2") not in refused.value.detail


def test_a_generated_key_can_be_put_in_a_key_ring() -> None:
    first, second = generate_key().get_secret_value(), generate_key().get_secret_value()
    assert first != second
    assert KeyRing.parse(f"a:{first},b:{second}").key_ids == ("a", "b")


def test_ciphertexts_and_secrets_are_not_printed(key_ring: KeyRing) -> None:
    sealed = key_ring.encrypt(SECRET, STORED_AT)
    assert sealed.text not in repr(sealed)
    assert "the secret" not in repr(sealed)
