"""Recognises that the bank rejects a token as expired, without parsing responses that cannot say so.

Stitch responds with status 401, or with 200 and `extensions.code` at the top level; other servers put the code into
`errors[].extensions.code`. Both kinds of response are short and contain no data.
"""

import zlib
from enum import Enum

from app.base.strict_json import parse_json

# A longer response contains data.
MAX_REJECTION_BYTES = 4_096
_CODE = b"UNAUTHENTICATED"
_JSON = ("application/json", "application/graphql-response+json")


class TokenRejection(Enum):
    """Whether the bank rejected the token, and at which stage (GraphQL, October 2021, section 7.1.2)."""

    NONE = "none"
    REQUEST_ERROR = "request error"
    """Before execution: nothing was run."""
    FIELD_ERROR = "field error"
    """During execution, because an error has a `path`: other fields may have been run."""


def may_be_rejection(content_type: str, content_length: int | None) -> bool:
    """Return whether the body of a response with status 200 must be inspected before it is forwarded."""
    if content_length is not None and content_length > MAX_REJECTION_BYTES:
        return False
    return content_type.lower().startswith(_JSON)


def find_rejection(body: bytes, content_encoding: str | None) -> TokenRejection:
    """Return the rejection in a short and complete body."""
    text = body if content_encoding in (None, "", "identity") else _decompress(body)
    if _CODE not in text:
        return TokenRejection.NONE
    try:
        result = parse_json(text)
    except ValueError:
        return TokenRejection.NONE
    results = result if isinstance(result, list) else [result]
    if not results or not all(_rejects_token(result) for result in results):
        return TokenRejection.NONE
    has_field_error = any(_has_field_error(result) for result in results)
    return TokenRejection.FIELD_ERROR if has_field_error else TokenRejection.REQUEST_ERROR


def _rejects_token(result: object) -> bool:
    if not isinstance(result, dict) or result.get("data") is not None:
        return False
    return any(_code_of(member) == _CODE.decode() for member in [result, *_errors_of(result)])


def _has_field_error(result: object) -> bool:
    return any(isinstance(error, dict) and error.get("path") is not None for error in _errors_of(result))


def _errors_of(result: object) -> list[object]:
    errors = result.get("errors") if isinstance(result, dict) else None
    return errors if isinstance(errors, list) else []


def _code_of(member: object) -> object:
    extensions = member.get("extensions") if isinstance(member, dict) else None
    return extensions.get("code") if isinstance(extensions, dict) else None


def _decompress(body: bytes) -> bytes:
    try:
        # The flag 32 detects gzip and zlib. The output is limited because a small body may expand to a huge one.
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, 16 * MAX_REJECTION_BYTES)
    except zlib.error:
        return b""
