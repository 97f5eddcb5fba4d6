"""Access and refresh tokens, in families that are revoked together.

The bank stores only digests, so no response of the sandbox can contain a token that it issued earlier.
"""

import hashlib
import secrets
import time
import uuid
from dataclasses import dataclass, field


def generate_token() -> str:
    """Return a random token of 43 base64url characters, like Stitch's tokens."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return the SHA-256 digest, in hex, under which the bank stores a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Consent:
    """The access that a customer granted on the consent page."""

    sub: str
    scope: tuple[str, ...]
    account_ids: frozenset[str]
    bank_id: str
    session_id: str
    authenticated_at: int


@dataclass(kw_only=True)
class RefreshToken:
    """One refresh token of a family; `generation` counts from 1."""

    digest: str
    generation: int
    issued_at: float
    presented: int = 0
    used_at: float | None = None


@dataclass(kw_only=True)
class TokenFamily:
    """All tokens that descend from one consent (RFC 9700, section 4.14.2)."""

    id: str
    consent: Consent
    refresh_tokens: list[RefreshToken] = field(default_factory=list)
    death_reason: str | None = None

    @property
    def alive(self) -> bool:
        """Whether its tokens are still valid."""
        return self.death_reason is None


@dataclass(kw_only=True)
class AccessToken:
    """The stored data of an access token."""

    family: TokenFamily
    scope: tuple[str, ...]
    expires_at: float
    jkt: str | None = None
    """The thumbprint of the key that the token is bound to, or None for a bearer token."""


@dataclass(frozen=True, kw_only=True)
class IssuedTokens:
    """The token values of one token response. They are not stored."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int
    scope: tuple[str, ...]
    token_type: str


class InvalidRefreshTokenError(Exception):
    """The refresh token is unknown, revoked or already used."""


class TokenStore:
    """Issues, rotates, looks up and revokes tokens."""

    def __init__(self, *, access_token_ttl: int) -> None:
        self.access_token_ttl = access_token_ttl
        self.families: dict[str, TokenFamily] = {}
        self._access_tokens: dict[str, AccessToken] = {}
        self._refresh_tokens: dict[str, tuple[TokenFamily, RefreshToken]] = {}

    def start_family(self, consent: Consent) -> TokenFamily:
        """Create the family of a new consent, without tokens."""
        family = TokenFamily(id=str(uuid.uuid4()), consent=consent)
        self.families[family.id] = family
        return family

    def issue(
        self, family: TokenFamily, scope: tuple[str, ...] | None = None, *, jkt: str | None = None
    ) -> IssuedTokens:
        """Issue new tokens, bound to the key `jkt` if given; a refresh token only with the scope `offline_access`."""
        scope = scope or family.consent.scope
        now = time.time()
        access_token = generate_token()
        self._access_tokens[digest(access_token)] = AccessToken(
            family=family, scope=scope, expires_at=now + self.access_token_ttl, jkt=jkt
        )
        refresh_token = None
        if "offline_access" in family.consent.scope:
            refresh_token = generate_token()
            stored = RefreshToken(
                digest=digest(refresh_token), generation=len(family.refresh_tokens) + 1, issued_at=now
            )
            family.refresh_tokens.append(stored)
            self._refresh_tokens[stored.digest] = (family, stored)
        return IssuedTokens(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_in=self.access_token_ttl,
            scope=scope,
            token_type="DPoP" if jkt else "Bearer",
        )

    def use_refresh_token(self, refresh_token: str, *, reuse_grace: float) -> TokenFamily:
        """Mark a refresh token as used and return its family; reuse after `reuse_grace` seconds revokes the family.

        Raises InvalidRefreshTokenError if the token is unknown, revoked or already used.
        """
        family, stored = self._refresh_tokens.get(digest(refresh_token), (None, None))
        if family is None or stored is None:
            raise InvalidRefreshTokenError("The refresh token is unknown.")
        now = time.time()
        stored.presented += 1
        if not family.alive:
            raise InvalidRefreshTokenError("The consent was revoked.")
        if stored.used_at is None:
            stored.used_at = now
        elif now - stored.used_at >= reuse_grace:
            self.revoke_family(family, "refresh_token_reused")
            raise InvalidRefreshTokenError("The refresh token was already used.")
        return family

    def count_presentation(self, refresh_token: str) -> None:
        """Count that a refresh token was presented, without using it."""
        _, stored = self._refresh_tokens.get(digest(refresh_token), (None, None))
        if stored is not None:
            stored.presented += 1

    def valid_access_token(self, access_token: str) -> AccessToken | None:
        """Return the stored access token, or None if it is unknown, expired or revoked."""
        stored = self._access_tokens.get(digest(access_token))
        if stored is None or not stored.family.alive or stored.expires_at <= time.time():
            return None
        return stored

    def revoke(self, token: str) -> None:
        """Revoke one access token, or the whole family of a refresh token (RFC 7009, section 2.1)."""
        self._access_tokens.pop(digest(token), None)
        family, _ = self._refresh_tokens.get(digest(token), (None, None))
        if family is not None:
            self.revoke_family(family, "revoked_by_client")

    def revoke_family(self, family: TokenFamily, reason: str) -> None:
        """Revoke all tokens of a family; the first reason is kept."""
        family.death_reason = family.death_reason or reason

    def families_of(self, sub: str) -> list[TokenFamily]:
        """Return the families of one customer that are not revoked."""
        return [family for family in self.families.values() if family.alive and family.consent.sub == sub]

    def expire_access_tokens(self, sub: str | None = None) -> int:
        """Expire the access tokens of one customer, or of all, and return how many."""
        now = time.time()
        expired = 0
        for token in self._access_tokens.values():
            if token.expires_at > now and sub in (None, token.family.consent.sub):
                token.expires_at = now
                expired += 1
        return expired
