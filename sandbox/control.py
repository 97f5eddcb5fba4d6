"""The control API: what no real bank has, for tests and the demo. Its reference is README.md."""

import secrets
import time

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field, JsonValue

from sandbox.bank import Bank, BankDependency
from sandbox.customers import Customer
from sandbox.faults import Faults
from sandbox.ledger import LedgerReport
from sandbox.oidc.authorization_request import SCOPES
from sandbox.oidc.token import grant
from sandbox.tokens import Consent

router = APIRouter(prefix="/sandbox")


class CustomerEntry(BaseModel):
    """A customer as the control API shows it, login included."""

    sub: str
    username: str
    password: str
    bank: str
    accounts: list[str]


class ExpireRequest(BaseModel):
    """Whose access tokens expire; everybody's without a `sub`."""

    sub: str | None = None


class Lifetime(BaseModel):
    """How long access tokens live that are issued from now on."""

    seconds: int = Field(ge=1)


class ConsentRevocation(BaseModel):
    """Whose consents end."""

    sub: str


class KeyRotation(BaseModel):
    """Whether the old keys stay published."""

    keep_old: bool = True


class GrantsRequest(BaseModel):
    """How many ready-made grants to issue, and for what."""

    sub: str
    scope: str = " ".join(SCOPES)
    count: int = Field(default=1, ge=1, le=1_000_000)


class Grants(BaseModel):
    """Token responses, as the token endpoint gives them."""

    grants: list[dict[str, JsonValue]]


class Affected(BaseModel):
    """How many tokens or consents a call has changed."""

    affected: int


@router.get("/ledger")
async def ledger(bank: BankDependency) -> LedgerReport:
    """Return what the bank counted."""
    return bank.report()


@router.get("/customers")
async def customers(bank: BankDependency) -> list[CustomerEntry]:
    """Return who can log in, and how."""
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
    """Return what is wrong at the bank now."""
    return bank.faults


@router.put("/faults")
async def merge_faults(bank: BankDependency, changes: Faults) -> Faults:
    """Replace each fault that the body names, and leave the others."""
    bank.faults.merge(changes)
    return bank.faults


@router.delete("/faults", status_code=204)
async def clear_faults(bank: BankDependency) -> None:
    """Let nothing be wrong any more."""
    bank.faults = Faults()


@router.post("/expire")
async def expire(bank: BankDependency, request: ExpireRequest) -> Affected:
    """Expire access tokens now."""
    return Affected(affected=bank.tokens.expire_access_tokens(request.sub))


@router.post("/access-token-ttl", status_code=204)
async def set_access_token_ttl(bank: BankDependency, lifetime: Lifetime) -> None:
    """Change the lifetime of access tokens issued from now on."""
    bank.tokens.access_token_ttl = lifetime.seconds


@router.post("/lapse-pushed-requests", status_code=204)
async def lapse_pushed_requests(bank: BankDependency) -> None:
    """Let the time of every pushed request be over."""
    bank.pushed_requests.lapse()


@router.post("/rotate-dpop-nonce", status_code=204)
async def rotate_dpop_nonce(bank: BankDependency) -> None:
    """Ask for a new nonce in proofs; the one before is taken until the next rotation."""
    bank.proofs.rotate_nonce()


@router.post("/revoke-consent")
async def revoke_consent(bank: BankDependency, request: ConsentRevocation) -> Affected:
    """End a customer's consents, as the customer can at the bank."""
    families = bank.tokens.families_of(_customer(bank, request.sub).sub)
    for family in families:
        bank.tokens.kill(family, "revoked_by_user")
    return Affected(affected=len(families))


@router.post("/keys/rotate", status_code=204)
async def rotate_keys(bank: BankDependency, rotation: KeyRotation) -> None:
    """Sign id_tokens with a new key from now on."""
    bank.signing_keys.rotate(keep_old=rotation.keep_old)


@router.post("/reset", status_code=204)
async def reset(bank: BankDependency) -> None:
    """Return to the start state."""
    bank.reset()


@router.post("/grants")
async def issue_grants(bank: BankDependency, request: GrantsRequest) -> Grants:
    """Issue grants to all accounts of a customer without the browser's part, for load tests."""
    customer = _customer(bank, request.sub)
    return Grants(
        grants=[
            grant(
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
    """Return the customer of this sub, or of this username, which is the same at every start."""
    for customer in bank.customers.values():
        if sub in (customer.sub, customer.username):
            return customer
    raise HTTPException(404, "No customer has this sub.")
