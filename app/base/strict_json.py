"""JSON from outside, read without surprises."""

import json


def read_json(text: str | bytes, *, members_once: bool = False) -> object:
    """Return what `text` says. Raises ValueError for whatever is not JSON (RFC 8259), however it fails to be it.

    With `members_once`, a member that is there twice is refused, since who reads the first and who reads the last would
    not read the same; and, for the same reason, what is not UTF-8, and NaN and Infinity, which are forgiven else.
    """
    try:
        if members_once:
            return _MEMBERS_ONCE.decode(text if isinstance(text, str) else text.decode())
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nests too deeply") from error


def storable(text: str) -> bool:
    """Tell whether PostgreSQL can store a text: no U+0000, and no half of a surrogate pair, which JSON can spell."""
    return "\x00" not in text and text.encode(errors="ignore").decode() == text


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


_MEMBERS_ONCE = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
