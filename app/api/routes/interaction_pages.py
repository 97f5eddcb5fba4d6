"""`/connect/interactions`: what browsers open on their way to the bank's page and back."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.browser_cookies import answer_without_deed, bind, cookie_name, error_page, secrets_of
from app.api.dependencies import Broker
from app.api.error_examples import pages
from app.api.navigation import button_page, is_by_person, send_to_bank
from app.api.pages import SECURITY_HEADERS, page
from app.errors import BrokerError
from app.interactions.browser import COOKIE_PREFIX
from app.interactions.service import RETURN_PATH
from app.login.return_urls import with_outcome
from app.store.enums import InteractionStatus
from app.store.interactions import Interaction

router = APIRouter(tags=["Pages for the browser"])
_MOST_AT_ONCE = 20
_OUTCOMES = {
    InteractionStatus.COMPLETED: ("good", "Thank you", "Your bank has what it needs. You can go back to the app."),
    InteractionStatus.FAILED: ("bad", "It was not approved", "Nothing was done. You can go back to the app."),
}
_ONE_OF_SEVERAL = ("calm", "You are back from your bank", "Please go back to the app. It knows how this ended.")


@router.post(f"{RETURN_PATH}/{{ticket:path}}", include_in_schema=False)
@router.get(
    f"{RETURN_PATH}/{{ticket:path}}",
    summary="Go to the bank's page",
    status_code=303,
    response_class=Response,
    responses=pages(
        {
            200: "A page with a button, unless a person opens the link.",
            303: "To the bank.",
            400: "The link has been used or has expired.",
            404: "No such link.",
        }
    ),
)
async def open_interaction(request: Request, runtime: Broker, ticket: str) -> Response:
    """Bind this browser to the interaction, and redirect it to the bank."""
    if (idle := answer_without_deed(request)) is not None:
        return idle
    try:
        opened = await runtime.interactions.browser.open(
            ticket,
            lambda name: secrets_of(request).get(cookie_name(runtime, name)),
            may_bind=is_by_person(request),
        )
    except BrokerError as error:
        return error_page(request, error)
    if opened is None:
        return button_page(request)
    response = send_to_bank(request, opened.bank_url)
    bind(request, response, runtime, cookie_name(runtime, opened.name), opened.browser)
    return response


@router.get(
    RETURN_PATH,
    summary="Come back from the bank's page",
    response_class=Response,
    responses=pages(
        {
            200: "The outcome.",
            303: "To the interaction's `return_url`.",
            400: "Nothing was begun in this browser.",
        }
    ),
)
async def come_back(request: Request, runtime: Broker) -> Response:
    """Ask the bank what became of it: a page, or a redirect to `return_url`."""
    if (idle := answer_without_deed(request)) is not None:
        return idle
    mark = cookie_name(runtime, COOKIE_PREFIX)
    browsers = [value for name, value in secrets_of(request).items() if name.startswith(mark)]
    try:
        # Browsers send the oldest cookies first (RFC 6265 section 5.4); the user comes back from one of the latest.
        found = await runtime.interactions.browser.handle_return(browsers[-_MOST_AT_ONCE:])
    except BrokerError as error:
        return error_page(request, error)
    return _show(request, found) if found is not None else _page(request, *_ONE_OF_SEVERAL)


def _show(request: Request, interaction: Interaction) -> Response:
    root = request.scope.get("root_path", "")
    if interaction.status is InteractionStatus.PENDING:
        return page("waiting", root=root)
    if interaction.return_url is not None:
        outcome = {"interaction": interaction.id, "status": interaction.status.value}
        return RedirectResponse(with_outcome(interaction.return_url, outcome), 303, SECURITY_HEADERS)
    return _page(request, *_OUTCOMES[interaction.status])


def _page(request: Request, mood: str, title: str, text: str) -> Response:
    root = request.scope.get("root_path", "")
    return page("outcome", root=root, mood=mood, title=title, text=text, confirmation_code=None, reference=None)
