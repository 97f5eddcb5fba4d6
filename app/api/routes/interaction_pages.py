"""`/connect/interactions`: what browsers open on the way to the bank's page and back."""

from fastapi import APIRouter, Request, Response

from app.api.browser_cookies import BrowserCookies
from app.api.dependencies import Broker
from app.api.error_examples import button_pages, link_pages, pages
from app.api.navigation import BrowserRoute, button_page, is_by_person, send_to_app, send_to_bank
from app.api.pages import outcome_page, waiting_page
from app.interactions.browser import COOKIE_PREFIX
from app.interactions.service import RETURN_PATH
from app.login.return_urls import with_outcome
from app.store.enums import InteractionStatus
from app.store.interactions import Interaction

router = APIRouter(route_class=BrowserRoute, tags=["Pages for the browser"])
_MAX_INTERACTIONS = 20
_OUTCOMES = {
    InteractionStatus.COMPLETED: ("good", "Thank you", "Your bank has what it needs. You can go back to the app."),
    InteractionStatus.FAILED: ("bad", "It was not approved", "Nothing was done. You can go back to the app."),
}
_UNKNOWN_OUTCOME = ("calm", "You are back from your bank", "Please go back to the app. It knows how this ended.")


@router.get(
    f"{RETURN_PATH}/{{ticket:ticket}}",
    summary="Go to the bank's page",
    status_code=303,
    response_class=Response,
    responses=link_pages(
        {
            200: "A page with a button, unless a person opens the link.",
            303: "To the bank.",
        }
    ),
)
async def open_interaction(request: Request, runtime: Broker, ticket: str) -> Response:
    """Bind this browser to the interaction, and redirect it to the bank."""
    cookies = BrowserCookies(request, runtime.settings)
    opened = await runtime.interactions.browser.open(ticket, cookies.secret, may_bind=is_by_person(request))
    if opened is None:
        return button_page(request)
    response = send_to_bank(request, opened.bank_url)
    cookies.bind(response, opened.name, opened.browser)
    return response


@router.post(
    f"{RETURN_PATH}/{{ticket:ticket}}",
    summary="Press the button of the page before the bank's",
    status_code=303,
    response_class=Response,
    responses=button_pages(),
)
async def press_interaction_button(request: Request, runtime: Broker, ticket: str) -> Response:
    """Open a link by the button of the page that is shown unless a person opens it."""
    return await open_interaction(request, runtime, ticket)


@router.get(
    RETURN_PATH,
    summary="Come back from the bank's page",
    response_class=Response,
    responses=pages(
        {
            200: "The outcome.",
            303: "To the interaction's `return_url`.",
            400: "No interaction was opened in this browser.",
        }
    ),
)
async def come_back(request: Request, runtime: Broker) -> Response:
    """Ask the bank for the outcome: show a page, or redirect to `return_url`."""
    # The user returns from one of the latest.
    secrets = BrowserCookies(request, runtime.settings).secrets(COOKIE_PREFIX)[-_MAX_INTERACTIONS:]
    interaction = await runtime.interactions.browser.handle_return(secrets)
    if interaction is None:
        return outcome_page(request, *_UNKNOWN_OUTCOME)
    return _show(request, interaction)


def _show(request: Request, interaction: Interaction) -> Response:
    if interaction.status is InteractionStatus.PENDING:
        return waiting_page(request)
    if interaction.return_url is not None:
        outcome = {"interaction": interaction.id, "status": interaction.status.value}
        return send_to_app(with_outcome(interaction.return_url, outcome))
    return outcome_page(request, *_OUTCOMES[interaction.status])
