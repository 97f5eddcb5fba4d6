"""Binds a link to the first browser that opens it: the browser gets a secret as a cookie, the row keeps its SHA-256."""

from app.base.hashing import constant_time_equal, sha256_hex
from app.errors import InvalidRequest, NotFound


def is_bound_to(browser_sha256: str | None, secret: str | None) -> bool:
    """Return whether a browser with this secret is the one that the link is bound to."""
    return browser_sha256 is not None and secret is not None and constant_time_equal(sha256_hex(secret), browser_sha256)


def link_unknown() -> NotFound:
    """Return the error for a link that does not exist."""
    return NotFound("this link is not known; ask for a new one", code="ticket_unknown")


def link_unusable(why: str) -> InvalidRequest:
    """Return the error for a link that cannot be opened any more; `why` is a verb phrase such as "has expired"."""
    return InvalidRequest(f"this link {why}; ask for a new one", code="ticket_used")


def opened_in_another_browser() -> InvalidRequest:
    """Return the error for a link that is bound to another browser."""
    return InvalidRequest(
        "this link was opened in another browser; continue there, or ask for a new one", code="other_browser"
    )
