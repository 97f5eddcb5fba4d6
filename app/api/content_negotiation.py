"""Parses `Accept` headers and their quality values (RFC 9110 section 12.4.2)."""

from functools import lru_cache

# No client sends a longer header; it is ignored.
MAX_HEADER_BYTES = 1_024
_MAX_VALUES = 32


def qualities(header: bytes) -> dict[str, float]:
    """Return the quality of each value in an `Accept…` header, in lower case; 0 means "not acceptable".

    Only the first 32 values are read.
    """
    return _qualities(header) if len(header) <= MAX_HEADER_BYTES else {}


@lru_cache(maxsize=1_024)
def _qualities(header: bytes) -> dict[str, float]:
    qualities_by_value: dict[str, float] = {}
    for part in header.decode("latin-1").split(",", _MAX_VALUES)[:_MAX_VALUES]:
        value, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            qualities_by_value[value] = float(quality)
        except ValueError:
            qualities_by_value[value] = 1.0
    return qualities_by_value
