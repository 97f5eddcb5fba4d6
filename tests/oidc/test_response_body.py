import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BankResponseInvalid
from app.oidc.response_body import decode_body, parse_json_object

OBJECT = {"access_token": "at", "expires_in": 900}
PLAIN = json.dumps(OBJECT).encode()
# Without the time, because the bytes are part of the tests' names, which must be the same in each worker.
GZIP = gzip.compress(PLAIN, mtime=0)
RAW_DEFLATE = zlib.compressobj(wbits=-15)
LIMIT = 100_000


def decode(body: bytes, content_encoding: str = "") -> dict[str, object]:
    return parse_json_object(decode_body(body, content_encoding, max_bytes=LIMIT))


@pytest.mark.parametrize(
    ("body", "content_encoding"),
    [
        (PLAIN, ""),
        (PLAIN, "identity"),
        (GZIP, "gzip"),
        (GZIP, "GZip"),
        (GZIP, "x-gzip"),
        (GZIP, "identity, gzip"),
        (zlib.compress(PLAIN), "deflate"),
        (RAW_DEFLATE.compress(PLAIN) + RAW_DEFLATE.flush(), "deflate"),
        (gzip.compress(zlib.compress(PLAIN), mtime=0), "deflate, gzip"),
    ],
)
def test_content_codings_are_decoded(body: bytes, content_encoding: str) -> None:
    assert decode(body, content_encoding) == OBJECT


@pytest.mark.parametrize("content_encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_plain_body_is_read_whatever_its_content_encoding_claims(content_encoding: str) -> None:
    assert decode(PLAIN, content_encoding) == OBJECT


def test_a_gzip_body_without_a_content_encoding_is_decoded() -> None:
    assert decode(GZIP) == OBJECT


def test_a_compressed_body_without_its_trailer_is_decoded() -> None:
    assert decode(GZIP[:-8], "gzip") == OBJECT


@pytest.mark.parametrize(
    ("body", "content_encoding", "cause"),
    [
        (b"\x1b\x05\x80", "br", "content coding 'br'"),
        (b"not gzip", "gzip", "not valid gzip"),
        (b"not deflate", "deflate", "not valid deflate"),
        (GZIP, ", ".join(["gzip"] * 20), "encoded 20 times"),
    ],
)
def test_an_undecodable_body_is_an_invalid_response_that_names_the_cause(
    body: bytes, content_encoding: str, cause: str
) -> None:
    with pytest.raises(BankResponseInvalid, match=cause):
        decode(body, content_encoding)


@pytest.mark.parametrize("content_encoding", ["gzip", "gzip, gzip"])
def test_a_decompression_bomb_is_not_decompressed_beyond_the_limit(content_encoding: str) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    if "," in content_encoding:
        bomb = gzip.compress(bomb)
    with pytest.raises(BankResponseInvalid, match="larger than"):
        decode(bomb, content_encoding)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_of_json_is_read(encoding: str) -> None:
    assert decode(json.dumps(OBJECT).encode(encoding)) == OBJECT


def test_a_byte_that_is_not_utf_8_costs_no_token() -> None:
    assert decode(b'{"access_token": "at", "scope": "caf\xe9"}')["access_token"] == "at"


@pytest.mark.parametrize("body", [b"\r\n " + PLAIN, PLAIN + b"\r\n\r\n", PLAIN + b"\x00\x00", b"\xef\xbb\xbf" + PLAIN])
def test_padding_around_the_object_is_ignored(body: bytes) -> None:
    assert decode(body) == OBJECT


def test_an_unescaped_line_break_within_a_string_is_accepted() -> None:
    assert decode(b'{"error": "invalid_grant", "error_description": "one\ntwo"}')["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"null", PLAIN[:-1], PLAIN + b"x", PLAIN + PLAIN, b"[" * 100_000, b"\xff\xfe", b"<html>"]
)
def test_anything_but_one_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(body)


@given(st.binary(), st.sampled_from(["", "gzip", "deflate", "br", "gzip, deflate", ",", "x"]))
def test_any_body_is_decoded_or_refused(body: bytes, content_encoding: str) -> None:
    try:
        decode(body, content_encoding)
    except (ValueError, BankResponseInvalid):
        return
