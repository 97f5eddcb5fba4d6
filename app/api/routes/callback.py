"""`/connect/{ticket}` and `/callback`: what browsers open. Every answer is a page or a redirect, never JSON."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.api.browser_cookies import answer_without_deed, bind, cookie_name, error_page, secrets_of
from app.api.dependencies import Broker
from app.api.error_examples import pages
from app.api.navigation import button_page, is_by_person, send_to_bank
from app.api.pages import SECURITY_HEADERS, page
from app.base.hashing import sha256_hex
from app.base.randomness import random_urlsafe_text
from app.errors import BrokerError
from app.login.connect_links import login_name
from app.login.return_urls import with_outcome
from app.oidc.authorization_response import PARAMETERS, parse_authorization_response
from app.store.enums import SessionStatus
from app.store.sessions import Session

router = APIRouter(tags=["Pages for the browser"])

# RFC 6749 appendix A.
_PARAMETER = {"type": "string", "pattern": "^[ -~]*$", "maxLength": 4_096}
_PAGES = {
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


@router.post("/connect/{ticket:path}", include_in_schema=False)
@router.get(
    "/connect/{ticket:path}",
    summary="Go to the bank",
    status_code=303,
    response_class=Response,
    responses=pages(
        {
            200: "The outcome if this browser's login has ended; a page with a button unless a person opens the link.",
            303: "To the bank; to the session's `return_url` where this browser's login has ended.",
            400: "The link has been used or has expired.",
            404: "No such link.",
        }
    ),
)
async def connect(request: Request, runtime: Broker, ticket: str) -> Response:
    """Bind this browser to the session, and redirect it to the bank. After the login, show it the outcome again.

    Only a person's navigation does that, as `Sec-Fetch-*` headers report. Other requests get a page with one button,
    so that link scanners and chat previews do not use the link up.
    """
    if (idle := answer_without_deed(request)) is not None:
        return idle
    try:
        link = await runtime.login.connect_links.open(
            ticket,
            lambda login: secrets_of(request).get(cookie_name(runtime, login)),
            may_bind=is_by_person(request),
        )
        if isinstance(link, Session):
            return _show(request, link, runtime.login.confirmation.code_of(link), is_this_browser=True)
    except BrokerError as error:
        return error_page(request, error)
    if link is None:
        return button_page(request)
    response = send_to_bank(request, link.bank_url)
    bind(request, response, runtime, cookie_name(runtime, link.login), link.browser)
    return response


@router.get(
    "/callback",
    summary="Come back from the bank",
    response_class=Response,
    responses=pages(
        {
            200: "The outcome.",
            303: "To the session's `return_url`.",
            400: "No redirect of the bank's for an open login.",
        }
    ),
    openapi_extra={
        "parameters": [
            {"name": name, "in": "query", "required": name == "state", "schema": _PARAMETER} for name in PARAMETERS
        ]
    },
)
async def callback(request: Request, runtime: Broker) -> Response:
    """End the login: a page, or a redirect to the session's `return_url`."""
    if (idle := answer_without_deed(request)) is not None:
        return idle
    try:
        response = parse_authorization_response(request.query_params.multi_items())
        cookie = cookie_name(runtime, login_name(sha256_hex(response.state.get_secret_value())))
        new_browser = random_urlsafe_text()
        session, is_this_browser = await runtime.login.callback.receive(
            response, secrets_of(request).get(cookie), new_browser
        )
        code = runtime.login.confirmation.code_of(session) if is_this_browser else None
    except BrokerError as error:
        return error_page(request, error)
    answer = _show(request, session, code, is_this_browser=is_this_browser)
    if session.browser_digest == sha256_hex(new_browser):
        bind(request, answer, runtime, cookie, new_browser)
    return answer


def _show(request: Request, session: Session, confirmation_code: str | None, *, is_this_browser: bool) -> Response:
    if session.status is SessionStatus.EXCHANGING:
        return page("waiting", root=request.scope.get("root_path", ""))
    # Another browser must not seem to its app to have logged in.
    if session.return_url is not None and is_this_browser:
        outcome = {"session_id": session.id, "status": session.status.value}
        if confirmation_code is not None:
            outcome["confirmation_code"] = confirmation_code
        return RedirectResponse(with_outcome(session.return_url, outcome), 303, SECURITY_HEADERS)
    mood, title, text = _ANOTHER_PERSON if session.error_code == "subject_mismatch" else _PAGES[session.status]
    return page(
        "outcome",
        root=request.scope.get("root_path", ""),
        mood=mood,
        title=title,
        text=text,
        confirmation_code=confirmation_code,
        reference=session.id if session.status is SessionStatus.FAILED else None,
    )
