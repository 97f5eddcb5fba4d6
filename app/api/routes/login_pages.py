"""`/connect/{ticket}` and `/callback`: what browsers open in a login. The response is a page or a redirect."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.browser_cookies import BrowserCookies
from app.api.dependencies import Broker
from app.api.error_examples import button_pages, link_pages, pages
from app.api.navigation import BrowserRoute, button_page, is_by_person, send_to_app, send_to_bank
from app.api.pages import outcome_page, waiting_page
from app.base.hashing import sha256_hex
from app.base.randomness import random_urlsafe_text
from app.login.connect_links import login_name
from app.login.return_urls import with_outcome
from app.oidc.authorization_response import PARAMETERS, parse_authorization_response
from app.store.enums import SessionStatus
from app.store.sessions import Session

router = APIRouter(route_class=BrowserRoute, tags=["Pages for the browser"])

# RFC 6749 appendix A.
_PARAMETER = {"type": "string", "pattern": "^[ -~]*$", "maxLength": 4_096}
_OUTCOMES = {
    SessionStatus.COMPLETED: ("good", "Your account is linked", "You can close this page and go back to the app."),
    SessionStatus.AWAITING_CONFIRMATION: (
        "calm",
        "One step is left",
        "Go back to the app and confirm that it was you.",
    ),
    SessionStatus.CANCELLED: (
        "calm",
        "Nothing was linked",
        "You cancelled, and no access was given.",
    ),
    SessionStatus.FAILED: (
        "bad",
        "Your account could not be linked",
        "No access was given. Please go back and try again.",
    ),
    SessionStatus.EXPIRED: ("bad", "This took too long", "No access was given. Please go back and start again."),
    SessionStatus.PENDING: ("calm", "The login is not finished", "Please go back and log in at your bank."),
}
_ANOTHER_PERSON = (
    "bad",
    "Somebody else has linked this account",
    "No access was given. Please go back, and log in as the person who linked it.",
)


@router.get(
    "/connect/{ticket:ticket}",
    summary="Go to the bank",
    status_code=303,
    response_class=Response,
    responses=link_pages(
        {
            200: "The outcome if this browser's login has ended; a page with a button unless a person opens the link.",
            303: "To the bank; to the session's `return_url` if this browser's login has ended.",
        }
    ),
)
async def connect(request: Request, runtime: Broker, ticket: str) -> Response:
    """Bind this browser to the session, and redirect it to the bank. After the login, show it the outcome again.

    Only a person's navigation does that, as `Sec-Fetch-*` headers report. Other requests get a page with one button,
    so that link scanners and chat previews do not use the link up.
    """
    cookies = BrowserCookies(request, runtime.settings)
    opened = await runtime.login.connect_links.open(ticket, cookies.secret, may_bind=is_by_person(request))
    if opened is None:
        return button_page(request)
    if isinstance(opened, Session):
        return _show(request, opened, runtime.login.confirmation.code_of(opened), is_this_browser=True)
    response = send_to_bank(request, opened.bank_url)
    cookies.bind(response, opened.login, opened.browser)
    return response


@router.post(
    "/connect/{ticket:ticket}",
    summary="Press the button of the page",
    status_code=303,
    response_class=Response,
    responses=button_pages(),
)
async def press_connect_button(request: Request, runtime: Broker, ticket: str) -> Response:
    """Open a link by the button of the page that is shown unless a person opens it."""
    return await connect(request, runtime, ticket)


@router.get(
    "/callback",
    summary="Come back from the bank",
    response_class=Response,
    responses=pages(
        {
            200: "The outcome.",
            303: "To the session's `return_url`.",
            400: "Not a redirect from the bank for a pending login.",
        }
    ),
    openapi_extra={
        "parameters": [
            {"name": name, "in": "query", "required": name == "state", "schema": _PARAMETER} for name in PARAMETERS
        ]
    },
)
async def callback(request: Request, runtime: Broker) -> Response:
    """End the login: show a page, or redirect to the session's `return_url`."""
    authorization = parse_authorization_response(request.query_params.multi_items())
    cookies = BrowserCookies(request, runtime.settings)
    login = login_name(sha256_hex(authorization.state.get_secret_value()))
    new_secret = random_urlsafe_text()
    session, is_this_browser = await runtime.login.callback.receive(authorization, cookies.secret(login), new_secret)
    code = runtime.login.confirmation.code_of(session) if is_this_browser else None
    response = _show(request, session, code, is_this_browser=is_this_browser)
    if session.browser_digest == sha256_hex(new_secret):
        cookies.bind(response, login, new_secret)
    return response


def _show(request: Request, session: Session, confirmation_code: str | None, *, is_this_browser: bool) -> Response:
    if session.status is SessionStatus.EXCHANGING:
        return waiting_page(request)
    # Another browser must not seem to its app to have logged in.
    if session.return_url is not None and is_this_browser:
        outcome = {"session_id": session.id, "status": session.status.value}
        if confirmation_code is not None:
            outcome["confirmation_code"] = confirmation_code
        return send_to_app(with_outcome(session.return_url, outcome))
    mood, title, text = _ANOTHER_PERSON if session.error_code == "subject_mismatch" else _OUTCOMES[session.status]
    reference = session.id if session.status is SessionStatus.FAILED else None
    return outcome_page(request, mood, title, text, confirmation_code=confirmation_code, reference=reference)
