"""The authorization endpoint (RFC 6749, section 3.1) and its pages: choose a bank, log in, consent."""

import secrets
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from starlette.datastructures import QueryParams
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sandbox.bank import Bank, BankDependency
from sandbox.oidc.authorization_request import AuthorizationRequest, validate_authorization_request
from sandbox.oidc.errors import InvalidParameterError
from sandbox.oidc.interactions import Interaction
from sandbox.oidc.session_state import session_state
from sandbox.rendering import render
from sandbox.seed import BANKS
from sandbox.tokens import Consent

router = APIRouter()

SCOPE_DESCRIPTIONS = {
    "offline_access": "Keep this access while you are away",
    "accounts": "See your accounts",
    "transactions": "See your transactions",
    "balances": "See your balances",
    "accountholders": "See who holds the accounts",
    "paymentinitiationrequest": "Ask for payments from your accounts",
}

InteractionId = Annotated[str, Form(alias="interaction")]


@router.get("/connect/authorize")
async def authorize(request: Request, bank: BankDependency) -> HTMLResponse:
    """Validate the request and show the first page."""
    interaction = bank.interactions.start(_find_request(request.query_params, bank))
    return render("choose_bank.html", interaction=interaction, banks=BANKS)


@router.post("/login/bank")
async def choose_bank(
    bank: BankDependency, interaction_id: InteractionId, chosen: Annotated[str, Form(alias="bank")]
) -> HTMLResponse:
    """Store the chosen bank and show the login page."""
    interaction = bank.interactions.find(interaction_id)
    for branch in BANKS:
        if branch.id == chosen:
            interaction.choose_bank(branch)
            return _login_page(bank, interaction)
    return render("choose_bank.html", 400, interaction=interaction, banks=BANKS)


@router.post("/login/customer")
async def log_in(
    bank: BankDependency,
    interaction_id: InteractionId,
    username: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> HTMLResponse:
    """Check the login and show the consent page."""
    interaction = bank.interactions.find(interaction_id)
    for customer in bank.customers.values():
        same_password = secrets.compare_digest(customer.password.encode(), password.encode())
        if customer.bank == interaction.bank and customer.username == username and same_password:
            interaction.log_in(customer)
            return render(
                "consent.html",
                interaction=interaction,
                customer=customer,
                scopes={name: text for name, text in SCOPE_DESCRIPTIONS.items() if name in interaction.request.scope},
            )
    return _login_page(bank, interaction, failed=True)


@router.post("/login/consent")
async def decide(
    bank: BankDependency,
    interaction_id: InteractionId,
    decision: Annotated[str, Form()],
    scope: Annotated[list[str] | None, Form()] = None,
    account: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Redirect the customer to the client: with a code or, if the customer cancelled, with the state only."""
    interaction = bank.interactions.find(interaction_id)
    bank.interactions.end(interaction)
    if decision != "allow":
        return _redirect(bank, interaction.request, {})
    if interaction.customer is None:
        raise InvalidParameterError("interaction", "The customer has not logged in. Start again.")
    ticked = {"openid", *(scope or [])}
    own_accounts = {owned.id for owned in interaction.customer.accounts}
    consent = Consent(
        sub=interaction.customer.sub,
        scope=tuple(name for name in interaction.request.scope if name in ticked),
        account_ids=frozenset(own_accounts.intersection(account or [])),
        bank_id=interaction.customer.bank.id,
        session_id=secrets.token_hex(16).upper(),
        authenticated_at=interaction.authenticated_at,
    )
    return _redirect(
        bank,
        interaction.request,
        {
            "code": bank.codes.issue(interaction.request, consent),
            "scope": " ".join(consent.scope),
            "session_state": session_state(bank.settings, consent),
        },
    )


def _find_request(parameters: QueryParams, bank: Bank) -> AuthorizationRequest:
    """Return the request in the query string, or the pushed request that it refers to (RFC 9126, section 4)."""
    request_uri = parameters.get("request_uri")
    if request_uri is None or bank.faults.pushed_requests == "none":
        if bank.faults.pushed_requests == "required":
            raise InvalidParameterError("request_uri", "Invalid request_uri. Push the request first.")
        return validate_authorization_request(parameters, bank.settings)
    if set(parameters) != {"client_id", "request_uri"} or parameters["client_id"] != bank.settings.client_id:
        raise InvalidParameterError("client_id", "Invalid client_id. Send only client_id and request_uri.")
    pushed = bank.pushed_requests.take(request_uri)
    if pushed is None:
        raise InvalidParameterError("request_uri", "Invalid request_uri. It is unknown, used or expired.")
    return pushed


def _login_page(bank: Bank, interaction: Interaction, *, failed: bool = False) -> HTMLResponse:
    hints = [customer for customer in bank.customers.values() if customer.bank == interaction.bank]
    return render("log_in.html", 401 if failed else 200, interaction=interaction, hints=hints, failed=failed)


def _redirect(bank: Bank, request: AuthorizationRequest, members: dict[str, str]) -> RedirectResponse:
    parameters: dict[str, str | None] = {**members, "state": request.state}
    if bank.faults.announce_iss:
        parameters["iss"] = bank.settings.issuer
    parameters |= bank.faults.take_authorization_response()
    present = {name: value for name, value in parameters.items() if value is not None}
    separator = "&" if "?" in request.redirect_uri else "?"
    return RedirectResponse(f"{request.redirect_uri}{separator}{urlencode(present)}", 303)
