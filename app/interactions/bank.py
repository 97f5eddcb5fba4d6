"""The bank wants to see its user: `USER_INTERACTION_REQUIRED`, and what became of it.

Stitch names a page of its own and an id. The user is sent to that page with `redirect_uri` appended, and comes back
without a word of what was decided; `node(id)` tells that.
"""

import json
from urllib.parse import quote, unquote_plus, urlsplit

from app.base.strict_json import parse_json
from app.errors import UnprocessableRequest

_QUERY = """
query InteractionStatus($id: ID!) {
  node(id: $id) { __typename ... on ReauthorizationRequired { id status } }
}
"""
_DEFAULT_PORTS = {"https": 443, "http": 80}
_DECIDED = {"complete": True, "failed": False}


def interaction_address(interaction_url: str, *, issuer: str, redirect_uri: str) -> str:
    """Return where to send the browser. Raises UnprocessableRequest for an address that is not the issuer's.

    Otherwise whoever may start interactions could have the broker lead users anywhere.
    """
    if not _is_of(issuer, interaction_url):
        raise UnprocessableRequest(
            f"interaction_url must be an address at {issuer}, as `userInteractionUrl` in the bank's error has it",
            code="interaction_url_not_allowed",
        )
    parts = urlsplit(interaction_url)
    # However it is spelt: the bank may read names without regard to case, or part them at semicolons.
    if "#" in interaction_url or "redirect_uri" in unquote_plus(parts.query).lower():
        raise UnprocessableRequest(
            "give interaction_url as the bank gave it, without redirect_uri and fragment",
            code="interaction_url_not_allowed",
        )
    separator = "&" if parts.query else "?"
    return f"{interaction_url}{separator}redirect_uri={quote(redirect_uri, safe='')}"


def status_query(interaction_id: str) -> bytes:
    """Return the body of the GraphQL request that asks for an interaction's status."""
    return json.dumps({"query": _QUERY, "variables": {"id": interaction_id}}).encode()


def read_decision(body: bytes, interaction_id: str) -> bool | None:
    """Tell whether the user has gone through with it; None where the answer does not say."""
    try:
        answer = parse_json(body)
    except ValueError:
        return None
    match answer:
        case {"data": {"node": {"id": said_of, "status": str(status)}}} if said_of == interaction_id:
            return _DECIDED.get(status.lower())
        case _:
            return None


def _is_of(issuer: str, url: str) -> bool:
    # What browsers read otherwise than we do must not pass: backslashes, blanks, control characters.
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        return False
    try:
        return _origin(url) == _origin(issuer) and "@" not in urlsplit(url).netloc
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what RFC 6454 section 4 compares."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
