"""Counts of the requests that the bank received, so that tests can check what a client really did."""

from collections import Counter

from pydantic import BaseModel

from sandbox.tokens import TokenFamily


class RefreshTokenEntry(BaseModel):
    """One refresh token of a family. `digest` is its SHA-256 in hex, `presented` how often it was used."""

    digest: str
    generation: int
    presented: int
    issued_at: float


class FamilyEntry(BaseModel):
    """One consent and its refresh tokens."""

    family: str
    sub: str
    scope: list[str]
    alive: bool
    death_reason: str | None
    refresh_tokens: list[RefreshTokenEntry]


class LedgerTotals(BaseModel):
    """Counts since the start or the last reset."""

    token_requests: dict[str, dict[str, int]]
    """By grant type, then by `ok` or the OAuth error code."""
    pushed_requests: int
    codes_exchanged: int
    revocations: int
    graphql_requests: dict[str, int]
    """By `ok`, `unauthenticated` or the error code of a DPoP proof."""
    payments: int
    answered_by_fault: dict[str, int]
    """By endpoint: requests that got the response of a fault without being processed."""


class LedgerReport(BaseModel):
    """The response of `GET /sandbox/ledger`."""

    families: list[FamilyEntry]
    totals: LedgerTotals


class Ledger:
    """Counts requests and outcomes."""

    def __init__(self) -> None:
        self.token_requests: Counter[tuple[str, str]] = Counter()
        self.graphql_requests: Counter[str] = Counter()
        self.answered_by_fault: Counter[str] = Counter()
        self.pushed_requests = 0
        self.codes_exchanged = 0
        self.revocations = 0
        self.payments = 0

    def totals(self) -> LedgerTotals:
        """Return the counts in the shape of the control API."""
        token_requests: dict[str, dict[str, int]] = {}
        for (grant_type, outcome), count in self.token_requests.items():
            token_requests.setdefault(grant_type, {})[outcome] = count
        return LedgerTotals(
            token_requests=token_requests,
            pushed_requests=self.pushed_requests,
            codes_exchanged=self.codes_exchanged,
            revocations=self.revocations,
            graphql_requests=dict(self.graphql_requests),
            payments=self.payments,
            answered_by_fault=dict(self.answered_by_fault),
        )


def family_entry(family: TokenFamily) -> FamilyEntry:
    """Return the ledger entry of a family, without any token value."""
    return FamilyEntry(
        family=family.id,
        sub=family.consent.sub,
        scope=list(family.consent.scope),
        alive=family.alive,
        death_reason=family.death_reason,
        refresh_tokens=[
            RefreshTokenEntry(
                digest=token.digest,
                generation=token.generation,
                presented=token.presented,
                issued_at=token.issued_at,
            )
            for token in family.refresh_tokens
        ],
    )
