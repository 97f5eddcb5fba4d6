"""Access and refresh tokens, in families that live and die together.

The bank remembers digests only: no answer of the sandbox can leak a token that it issued before.
"""

import hashlib
import secrets
import time
import uuid
from dataclasses import dataclass, field


def opaque_token() -> str:
    """Return 43 characters of base64url, as Stitch's tokens look."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return the SHA-256 hex digest by which the bank knows a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Consent:
    """What one customer allowed on the consent page."""

    sub: str
    scope: tuple[str, ...]
    account_ids: frozenset[str]
    bank_id: str
    session_id: str
    authenticated_at: int


@dataclass(kw_only=True)
class RefreshToken:
    """One generation of a family."""

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
        """Whether its tokens still work."""
        return self.death_reason is None


@dataclass(kw_only=True)
class AccessToken:
    """An access token as the bank remembers it."""

    family: TokenFamily
    scope: tuple[str, ...]
    expires_at: float
    jkt: str | None = None
    """The thumbprint of the key that it is bound to, if it is."""


@dataclass(frozen=True, kw_only=True)
class IssuedTokens:
    """The one moment in which token values exist at the bank."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int
    scope: tuple[str, ...]
    token_type: str


class RefreshTokenRefusedError(Exception):
    """The refresh token is unknown, dead or used before."""


class TokenStore:
    """Issues, rotates, looks up and kills tokens."""

    def __init__(self, *, access_token_ttl: int) -> None:
        self.access_token_ttl = access_token_ttl
        self.families: dict[str, TokenFamily] = {}
        self._access_tokens: dict[str, AccessToken] = {}
        self._refresh_tokens: dict[str, tuple[TokenFamily, RefreshToken]] = {}

    def start_family(self, consent: Consent) -> TokenFamily:
        """Open the family of a new consent; it has no tokens yet."""
        family = TokenFamily(id=str(uuid.uuid4()), consent=consent)
        self.families[family.id] = family
        return family

    def issue(
        self, family: TokenFamily, scope: tuple[str, ...] | None = None, *, jkt: str | None = None
    ) -> IssuedTokens:
        """Issue the next generation, bound to a key if there is one; a refresh token only with `offline_access`."""
        scope = scope or family.consent.scope
        now = time.time()
        access_token = opaque_token()
        self._access_tokens[digest(access_token)] = AccessToken(
            family=family, scope=scope, expires_at=now + self.access_token_ttl, jkt=jkt
        )
        refresh_token = None
        if "offline_access" in family.consent.scope:
            refresh_token = opaque_token()
            remembered = RefreshToken(
                digest=digest(refresh_token), generation=len(family.refresh_tokens) + 1, issued_at=now
            )
            family.refresh_tokens.append(remembered)
            self._refresh_tokens[remembered.digest] = (family, remembered)
        return IssuedTokens(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_in=self.access_token_ttl,
            scope=scope,
            token_type="DPoP" if jkt else "Bearer",
        )

    def present(self, refresh_token: str, *, reuse_grace: float) -> TokenFamily:
        """Use up a refresh token and return its family; reuse beyond the grace kills the family."""
        family, remembered = self._refresh_tokens.get(digest(refresh_token), (None, None))
        if family is None or remembered is None:
            raise RefreshTokenRefusedError("The refresh token is unknown.")
        now = time.time()
        remembered.presented += 1
        if not family.alive:
            raise RefreshTokenRefusedError("The consent has ended.")
        if remembered.used_at is None:
            remembered.used_at = now
        elif now - remembered.used_at >= reuse_grace:
            self.kill(family, "refresh_token_reused")
            raise RefreshTokenRefusedError("The refresh token was used before.")
        return family

    def valid_access_token(self, access_token: str) -> AccessToken | None:
        """Return the access token if it is known, unexpired and its family lives."""
        remembered = self._access_tokens.get(digest(access_token))
        if remembered is None or not remembered.family.alive or remembered.expires_at <= time.time():
            return None
        return remembered

    def revoke(self, token: str) -> None:
        """Revoke one access token, or the whole family of a refresh token (RFC 7009, section 2.1)."""
        self._access_tokens.pop(digest(token), None)
        family, _ = self._refresh_tokens.get(digest(token), (None, None))
        if family is not None:
            self.kill(family, "revoked_by_client")

    def kill(self, family: TokenFamily, reason: str) -> None:
        """End a family with all its tokens; the first reason stays."""
        family.death_reason = family.death_reason or reason

    def families_of(self, sub: str) -> list[TokenFamily]:
        """Return the living families of one customer."""
        return [family for family in self.families.values() if family.alive and family.consent.sub == sub]

    def expire_access_tokens(self, sub: str | None = None) -> int:
        """Let access tokens expire now, of one customer or of all; return how many."""
        now = time.time()
        expired = 0
        for token in self._access_tokens.values():
            if token.expires_at > now and sub in (None, token.family.consent.sub):
                token.expires_at = now
                expired += 1
        return expired
