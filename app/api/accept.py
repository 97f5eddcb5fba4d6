"""What a client accepts, and how gladly (RFC 9110 section 12.4.2)."""

from functools import lru_cache


@lru_cache(maxsize=1_024)
def qualities(header: str) -> dict[str, float]:
    """Return the quality of each value that an `Accept…` header names, in lower case; 0 means "not this"."""
    found: dict[str, float] = {}
    for part in header.split(","):
        value, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            found[value] = float(quality)
        except ValueError:
            found[value] = 1.0
    return found
