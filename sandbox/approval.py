"""The page on which a user approves a payment, where `userInteractionUrl` points."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, RedirectResponse

from sandbox.bank import Bank, BankDependency
from sandbox.oidc.authorization_request import check_redirect_uri
from sandbox.oidc.errors import InvalidParameterError
from sandbox.payments import Reauthorization
from sandbox.rendering import render

router = APIRouter()


@router.get("/approval")
async def show(bank: BankDependency, id: str, redirect_uri: str = "") -> HTMLResponse:  # noqa: A002
    """Show the payment. The client appends `redirect_uri` to `userInteractionUrl`."""
    reauthorization = _find(bank, id)
    check_redirect_uri(redirect_uri, bank.settings)
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
    """Record the decision and send the user back; the client reads it with the query `node(id)`."""
    reauthorization = _find(bank, reauthorization_id)
    check_redirect_uri(redirect_uri, bank.settings)
    bank.payments.decide(reauthorization, allow=decision == "allow")
    return RedirectResponse(redirect_uri, 303)


def _find(bank: Bank, reauthorization_id: str) -> Reauthorization:
    try:
        return bank.payments.reauthorizations[reauthorization_id]
    except KeyError:
        raise InvalidParameterError("id", "Invalid id. No approval request has this id.") from None
