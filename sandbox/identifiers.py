"""Identifiers of GraphQL nodes."""

import base64


def node_id(kind: str, key: str) -> str:
    """Return an identifier in Stitch's format: base64 of a kind and a key."""
    return base64.b64encode(f"{kind}/{key}".encode()).decode()
