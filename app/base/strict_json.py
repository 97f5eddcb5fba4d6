"""Parsing of JSON from outside."""

import json


def parse_json(text: str | bytes, *, strict: bool = False) -> object:
    """Return the parsed value. Raises ValueError for anything that is not JSON (RFC 8259), however it is malformed.

    With `strict`, text must be UTF-8, NaN and Infinity are refused, and an object must not repeat a member: one reader
    would take the first value and another the last, so they would not see the same document.
    """
    try:
        if strict:
            return _STRICT_DECODER.decode(text if isinstance(text, str) else text.decode())
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def is_storable_in_postgresql(text: str) -> bool:
    """Return whether PostgreSQL can store a text: no U+0000 and no lone surrogates, both of which JSON can spell."""
    return "\x00" not in text and text.encode(errors="ignore").decode() == text


def _unique_members(members: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(members)
    if len(result) != len(members):
        raise ValueError("a JSON object repeats a member")
    return result


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_STRICT_DECODER = json.JSONDecoder(object_pairs_hook=_unique_members, parse_constant=_refuse_constant)
