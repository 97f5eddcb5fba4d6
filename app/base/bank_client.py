"""The identity of a client at a bank. Grants belong to it: no other client can use their tokens."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BankClient:
    """A client registration: the OpenID Connect issuer, and the client id there (RFC 6749 section 2.2)."""

    issuer: str
    client_id: str
