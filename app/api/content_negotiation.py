"""What a client accepts, and how gladly (RFC 9110 section 12.4.2)."""

from functools import lru_cache

# A longer header is no client's; it is read as if it were not there, and none of it is remembered.
MOST_BYTES = 1_024
_MOST_PARTS = 32


def qualities(header: bytes) -> dict[str, float]:
    """Return the quality of each value that an `Accept…` header names, in lower case; 0 means "not this".

    What follows the first 32 values is not read.
    """
    return _qualities(header) if len(header) <= MOST_BYTES else {}


@lru_cache(maxsize=1_024)
def _qualities(header: bytes) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in header.decode("latin-1").split(",", _MOST_PARTS)[:_MOST_PARTS]:
        value, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            found[value] = float(quality)
        except ValueError:
            found[value] = 1.0
    return found
