"""Recognising that the bank calls a token expired, without parsing what is plainly something else.

Stitch says so with a 401, or with a 200 whose `extensions.code` stands at the top level; other servers put it into
`errors[].extensions.code`. Either is short and has no data.
"""

import zlib

from app.json_text import read_json

# An answer that is longer holds data.
LONGEST_REFUSAL = 4_096
_CODE = b"UNAUTHENTICATED"
_JSON = ("application/json", "application/graphql-response+json")


def may_be_refusal(status: int, content_type: str, content_length: int | None) -> bool:
    """Tell, from the head of an answer, whether its body must be looked at before it is passed on."""
    if status != 200 or not content_type.lower().startswith(_JSON):
        return False
    return content_length is None or content_length <= LONGEST_REFUSAL


def is_refusal(body: bytes, content_encoding: str) -> bool:
    """Tell whether a short, whole body says that the token has expired."""
    text = _decoded(body, content_encoding)
    if _CODE not in text:
        return False
    try:
        answer = read_json(text)
    except ValueError:
        return False
    if isinstance(answer, list):
        return bool(answer) and all(_refuses(one) for one in answer)
    return _refuses(answer)


def _refuses(answer: object) -> bool:
    if not isinstance(answer, dict) or answer.get("data") is not None:
        return False
    errors = answer.get("errors")
    places = [answer, *(errors if isinstance(errors, list) else [])]
    return any(_code_of(place) == _CODE.decode() for place in places)


def _code_of(place: object) -> object:
    extensions = place.get("extensions") if isinstance(place, dict) else None
    return extensions.get("code") if isinstance(extensions, dict) else None


def _decoded(body: bytes, content_encoding: str) -> bytes:
    if content_encoding in ("", "identity"):
        return body
    try:
        # 32 more than the window's bits: gzip and deflate alike. Bounded, as a small body may unfold into a huge one.
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, 16 * LONGEST_REFUSAL)
    except zlib.error:
        return b""
