"""The control API, with which tests and demos steer the bank. README.md is its reference."""

import secrets
import time

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field, JsonValue

from sandbox.bank import Bank, BankDependency
from sandbox.customers import Customer
from sandbox.faults import Faults
from sandbox.ledger import LedgerReport
from sandbox.oidc.authorization_request import SCOPES
from sandbox.oidc.token import issue_grant
from sandbox.tokens import Consent

router = APIRouter(prefix="/sandbox")


class CustomerEntry(BaseModel):
    """A customer, with the username and the password."""

    sub: str
    username: str
    password: str
    bank: str
    accounts: list[str]


class ExpirationRequest(BaseModel):
    """Selects the access tokens to expire: those of one customer, or all without a `sub`."""

    sub: str | None = None


class AccessTokenLifetime(BaseModel):
    """The lifetime of the access tokens issued from now on."""

    seconds: int = Field(ge=1)


class ConsentRevocation(BaseModel):
    """Selects the customer, by `sub` or username, whose consents are revoked."""

    sub: str


class KeyRotation(BaseModel):
    """Says whether the old keys stay published."""

    keep_old: bool = True


class GrantsRequest(BaseModel):
    """Asks for grants without a browser login."""

    sub: str
    scope: str = " ".join(SCOPES)
    count: int = Field(default=1, ge=1, le=1_000_000)


class Grants(BaseModel):
    """Token responses, in the form of the token endpoint."""

    grants: list[dict[str, JsonValue]]


class Affected(BaseModel):
    """The number of tokens or consents that a call changed."""

    affected: int


@router.get("/ledger")
async def ledger(bank: BankDependency) -> LedgerReport:
    """Return every token family, and the request counts."""
    return bank.report()


@router.get("/customers")
async def customers(bank: BankDependency) -> list[CustomerEntry]:
    """Return the customers, with their logins."""
    return [
        CustomerEntry(
            sub=customer.sub,
            username=customer.username,
            password=customer.password,
            bank=customer.bank.id,
            accounts=[account.id for account in customer.accounts],
        )
        for customer in bank.customers.values()
    ]


@router.get("/faults")
async def show_faults(bank: BankDependency) -> Faults:
    """Return the current faults."""
    return bank.faults


@router.put("/faults")
async def merge_faults(bank: BankDependency, changes: Faults) -> Faults:
    """Replace each fault that the body names, and leave the others unchanged."""
    bank.faults.merge(changes)
    return bank.faults


@router.delete("/faults", status_code=204)
async def clear_faults(bank: BankDependency) -> None:
    """Remove all faults."""
    bank.faults = Faults()


@router.post("/expire")
async def expire(bank: BankDependency, request: ExpirationRequest) -> Affected:
    """Expire access tokens now."""
    return Affected(affected=bank.tokens.expire_access_tokens(request.sub))


@router.post("/access-token-ttl", status_code=204)
async def set_access_token_ttl(bank: BankDependency, lifetime: AccessTokenLifetime) -> None:
    """Change the lifetime of access tokens issued from now on."""
    bank.tokens.access_token_ttl = lifetime.seconds


@router.post("/lapse-pushed-requests", status_code=204)
async def lapse_pushed_requests(bank: BankDependency) -> None:
    """Expire all unused pushed requests."""
    bank.pushed_requests.expire_all()


@router.post("/rotate-dpop-nonce", status_code=204)
async def rotate_dpop_nonce(bank: BankDependency) -> None:
    """Require a new nonce in proofs; the previous one is accepted until the next rotation."""
    bank.proofs.rotate_nonce()


@router.post("/revoke-consent")
async def revoke_consent(bank: BankDependency, request: ConsentRevocation) -> Affected:
    """Revoke a customer's consents, as if the customer had done so at the bank."""
    families = bank.tokens.families_of(_customer(bank, request.sub).sub)
    for family in families:
        bank.tokens.revoke_family(family, "revoked_by_user")
    return Affected(affected=len(families))


@router.post("/keys/rotate", status_code=204)
async def rotate_keys(bank: BankDependency, rotation: KeyRotation) -> None:
    """Sign id_tokens with a new key from now on."""
    bank.signing_keys.rotate(keep_old=rotation.keep_old)


@router.post("/reset", status_code=204)
async def reset(bank: BankDependency) -> None:
    """Restore the initial state."""
    bank.reset()


@router.post("/grants")
async def issue_grants(bank: BankDependency, request: GrantsRequest) -> Grants:
    """Issue grants to all accounts of a customer without a browser login, for load tests."""
    customer = _customer(bank, request.sub)
    return Grants(
        grants=[
            issue_grant(
                bank,
                Consent(
                    sub=customer.sub,
                    scope=tuple(request.scope.split()),
                    account_ids=frozenset(account.id for account in customer.accounts),
                    bank_id=customer.bank.id,
                    session_id=secrets.token_hex(16).upper(),
                    authenticated_at=int(time.time()),
                ),
            )
            for _ in range(request.count)
        ]
    )


def _customer(bank: Bank, sub: str) -> Customer:
    """Return the customer with this `sub` or username."""
    for customer in bank.customers.values():
        if sub in (customer.sub, customer.username):
            return customer
    raise HTTPException(404, "No customer has this sub or username.")
