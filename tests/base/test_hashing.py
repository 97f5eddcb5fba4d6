from hypothesis import given
from hypothesis import strategies as st

from app.base.hashing import constant_time_equal, sha256_hex


def test_the_digest_is_sha_256() -> None:
    assert sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.text(), st.text())
def test_secrets_are_compared_like_ordinary_texts(left: str, right: str) -> None:
    assert constant_time_equal(left, right) == (left == right)
    assert constant_time_equal(left, left)
