"""Recognising that the bank calls a token expired, without parsing what is plainly something else.

Stitch says so with a 401, or with a 200 whose `extensions.code` stands at the top level; other servers put it into
`errors[].extensions.code`. Either is short and has no data.
"""

import zlib
from enum import Enum

from app.base.strict_json import parse_json

# An answer that is longer holds data.
LONGEST_REFUSAL = 4_096
_CODE = b"UNAUTHENTICATED"
_JSON = ("application/json", "application/graphql-response+json")


class Refusal(Enum):
    """What the bank refuses for an expired token."""

    NONE = "none"
    OF_THE_REQUEST = "request"
    """Nothing of it was run."""
    OF_A_FIELD = "field"
    """An error has a `path`: the request was being run (GraphQL, section 7.1.2), so that other fields may have been."""


def may_be_refusal(content_type: str, content_length: int | None) -> bool:
    """Tell, from the head of a 200, whether its body must be looked at before it is passed on."""
    if content_length is not None and content_length > LONGEST_REFUSAL:
        return False
    return content_type.lower().startswith(_JSON)


def refusal_in(body: bytes, content_encoding: str | None) -> Refusal:
    """Tell whether a short, whole body says that the token has expired, and of what."""
    text = body if content_encoding in (None, "", "identity") else _decoded(body)
    if _CODE not in text:
        return Refusal.NONE
    try:
        answer = parse_json(text)
    except ValueError:
        return Refusal.NONE
    answers = answer if isinstance(answer, list) else [answer]
    if not answers or not all(_refuses(one) for one in answers):
        return Refusal.NONE
    return Refusal.OF_A_FIELD if any(_names_a_field(one) for one in answers) else Refusal.OF_THE_REQUEST


def _refuses(answer: object) -> bool:
    if not isinstance(answer, dict) or answer.get("data") is not None:
        return False
    return any(_code_of(place) == _CODE.decode() for place in [answer, *_errors_of(answer)])


def _names_a_field(answer: object) -> bool:
    return any(isinstance(error, dict) and error.get("path") is not None for error in _errors_of(answer))


def _errors_of(answer: object) -> list[object]:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return errors if isinstance(errors, list) else []


def _code_of(place: object) -> object:
    extensions = place.get("extensions") if isinstance(place, dict) else None
    return extensions.get("code") if isinstance(extensions, dict) else None


def _decoded(body: bytes) -> bytes:
    try:
        # 32 more than the window's bits: gzip and deflate alike. Bounded, as a small body may unfold into a huge one.
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, 16 * LONGEST_REFUSAL)
    except zlib.error:
        return b""
