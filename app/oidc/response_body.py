"""Decodes the bodies of the provider's responses leniently: what a proxy did to a body must not cost a token."""

import json
import zlib

from app.errors import BankResponseInvalid

_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15  # wbits
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_CODINGS = 3
# Unlike the default decoder, it accepts control characters within strings: some servers do not escape line breaks.
_DECODER = json.JSONDecoder(strict=False)


def decode_body(body: bytes, content_encoding: str, *, max_bytes: int) -> str:
    """Return the text of a body with the codings of its `Content-Encoding` (RFC 9110 section 8.4).

    A compressed body may lack its end. Raises BankResponseInvalid if a coding is not supported or does not fit the
    body, or if more than `max_bytes` result.
    """
    codings = [coding.strip().lower() for coding in content_encoding.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if len(codings) > _MAX_CODINGS:
        raise BankResponseInvalid(f"the bank's answer is encoded {len(codings)} times")
    if not codings and body.startswith(_GZIP_MAGIC):
        codings = ["gzip"]  # JSON never starts with these bytes
    for coding in reversed(codings):
        body = _decode(body, coding, max_bytes)
    # JSON may be UTF-8, UTF-16 or UTF-32, with or without a byte order mark. Tokens are ASCII, so a single wrong byte
    # elsewhere does no harm.
    return body.decode(json.detect_encoding(body), errors="replace")


def parse_json_object(text: str) -> dict[str, object]:
    """Parse a JSON object, with or without a byte order mark or padding. Raises ValueError for anything else."""
    try:
        value = _DECODER.decode(text.strip("\ufeff\0 \t\r\n"))
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if isinstance(value, dict):
        return value
    raise ValueError("the JSON is not an object")


def _decode(body: bytes, coding: str, max_bytes: int) -> bytes:
    # Some proxies decompress a body, but leave the header.
    if not body or body.lstrip().startswith(b"{"):
        return body
    try:
        match coding:
            case "gzip" | "x-gzip":
                return _decompress(body, _GZIP, max_bytes)
            case "deflate":
                return _inflate(body, max_bytes)
    except zlib.error as error:
        raise BankResponseInvalid(f"the bank's answer is not valid {coding}") from error
    raise BankResponseInvalid(f"the bank's answer has the content coding {coding[:20]!r}, which was not requested")


def _inflate(body: bytes, max_bytes: int) -> bytes:
    """Decompress `deflate`, which some servers send without the zlib format that RFC 9110 section 8.4.1.2 requires."""
    try:
        return _decompress(body, _ZLIB, max_bytes)
    except zlib.error:
        return _decompress(body, _RAW_DEFLATE, max_bytes)


def _decompress(body: bytes, wbits: int, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(wbits)
    result = decompressor.decompress(body, max_bytes + 1)
    if len(result) > max_bytes:
        raise BankResponseInvalid(f"the bank's answer is larger than {max_bytes} bytes")
    return result
