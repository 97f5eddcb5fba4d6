"""The page on which a user approves a payment, where `userInteractionUrl` points."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, RedirectResponse

from sandbox.bank import Bank, BankDependency
from sandbox.oidc.errors import InvalidParameterError
from sandbox.payments import Reauthorization
from sandbox.rendering import render

router = APIRouter()


@router.get("/approval")
async def show(bank: BankDependency, id: str, redirect_uri: str = "") -> HTMLResponse:  # noqa: A002
    """Show the payment; the client has appended where to go afterwards."""
    reauthorization = _find(bank, id)
    _check_redirect_uri(bank, redirect_uri)
    return render(
        "approval.html",
        reauthorization=reauthorization,
        order=reauthorization.order,
        customer=bank.customers[reauthorization.sub],
        redirect_uri=redirect_uri,
    )


@router.post("/approval")
async def decide(
    bank: BankDependency,
    reauthorization_id: Annotated[str, Form(alias="reauthorization")],
    redirect_uri: Annotated[str, Form()],
    decision: Annotated[str, Form()],
) -> RedirectResponse:
    """Record the answer and send the user back; the client asks `node(id)` what it was."""
    reauthorization = _find(bank, reauthorization_id)
    _check_redirect_uri(bank, redirect_uri)
    bank.payments.decide(reauthorization, allow=decision == "allow")
    return RedirectResponse(redirect_uri, 303)


def _find(bank: Bank, reauthorization_id: str) -> Reauthorization:
    try:
        return bank.payments.reauthorizations[reauthorization_id]
    except KeyError:
        raise InvalidParameterError("id", "Invalid id. It names no request for approval.") from None


def _check_redirect_uri(bank: Bank, redirect_uri: str) -> None:
    if redirect_uri not in bank.settings.redirect_uris:
        raise InvalidParameterError(
            "redirect_uri",
            "Invalid redirect_uri. It must match one of the client's whitelisted redirect URIs exactly.",
        )
