"""The bank's side of an interaction, which it demands with the error `USER_INTERACTION_REQUIRED`.

The error contains an id and the address of a page at the bank. The user is sent to that page with `redirect_uri`
appended. The redirect back does not say what the user decided; the query `node(id)` does (Stitch's documentation).
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
_IS_APPROVED = {"complete": True, "failed": False}


def interaction_address(interaction_url: str, *, issuer: str, redirect_uri: str) -> str:
    """Return the address to send the browser to. Raises UnprocessableRequest unless it is at the issuer.

    Otherwise a caller that may start interactions could use the broker to redirect users anywhere.
    """
    if not _is_at(issuer, interaction_url):
        raise interaction_url_not_allowed(issuer)
    parts = urlsplit(interaction_url)
    # In any spelling: the bank may ignore the case of parameter names, or separate parameters by semicolons.
    if "#" in interaction_url or "redirect_uri" in unquote_plus(parts.query).lower():
        raise UnprocessableRequest(
            "send interaction_url as the bank sent it, without redirect_uri and fragment",
            code="interaction_url_not_allowed",
        )
    separator = "&" if parts.query else "?"
    return f"{interaction_url}{separator}redirect_uri={quote(redirect_uri, safe='')}"


def status_query(interaction_id: str) -> bytes:
    """Return the body of the GraphQL request for an interaction's status."""
    return json.dumps({"query": _QUERY, "variables": {"id": interaction_id}}).encode()


def parse_decision(body: bytes, interaction_id: str) -> bool | None:
    """Return whether the user has approved the interaction, or None if the response does not say."""
    try:
        result = parse_json(body)
    except ValueError:
        return None
    match result:
        case {"data": {"node": {"id": node_id, "status": str(status)}}} if node_id == interaction_id:
            return _IS_APPROVED.get(status.lower())
        case _:
            return None


def _is_at(issuer: str, url: str) -> bool:
    # Browsers parse backslashes, spaces and control characters differently, so none of them is allowed.
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        return False
    try:
        return _origin(url) == _origin(issuer) and "@" not in urlsplit(url).netloc
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return the origin of a URL (RFC 6454 section 4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def interaction_url_not_allowed(issuer: str) -> UnprocessableRequest:
    """Return the error for an interaction URL that is not at the issuer."""
    return UnprocessableRequest(
        f"interaction_url must be an address at {issuer}, as in `userInteractionUrl` of the bank's error",
        code="interaction_url_not_allowed",
    )
