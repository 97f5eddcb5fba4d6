"""`/connect/{ticket}` and `/callback`: what browsers open. Every answer is a page or a redirect, never JSON."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.api.context import request_id_of
from app.api.dependencies import Broker
from app.api.pages import SECURITY_HEADERS, page
from app.errors import BrokerError
from app.logs import get_logger
from app.oidc.authorization import parse_authorization_response
from app.randomness import digest, opaque_value
from app.runtime import Runtime
from app.services.return_urls import with_outcome
from app.store.sessions import Session, SessionStatus

router = APIRouter(tags=["Pages for the browser"])
logger = get_logger(__name__)

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


@router.get("/connect/{ticket:path}", summary="Go to the bank", status_code=303, response_class=Response)
async def connect(request: Request, runtime: Broker, ticket: str) -> Response:
    """Bind this browser to the session, and redirect it to the bank."""
    if _is_prefetch(request):
        return Response(status_code=204, headers=SECURITY_HEADERS)
    try:
        cookie = _cookie_name(runtime, await runtime.links.binding_of(ticket))
        url, browser = await runtime.links.open(ticket, request.cookies.get(cookie))
    except BrokerError as error:
        return _error_page(request, error)
    response = RedirectResponse(url.get_secret_value(), 303, SECURITY_HEADERS)
    _bind(response, runtime, cookie, browser)
    return response


@router.get("/callback", summary="Come back from the bank", response_class=Response)
async def callback(request: Request, runtime: Broker) -> Response:
    """End the login: a page, or a redirect to the session's `return_url`."""
    if _is_prefetch(request):
        return Response(status_code=204, headers=SECURITY_HEADERS)
    try:
        response = parse_authorization_response(request.query_params.multi_items())
        cookie = _cookie_name(runtime, digest(response.state.get_secret_value())[:16])
        known = request.cookies.get(cookie)
        browser = known or opaque_value()
        session, is_this_browser = await runtime.completion.receive(response, known, browser)
        code = runtime.confirmations.code_of(session) if is_this_browser else None
    except BrokerError as error:
        return _error_page(request, error)
    answer = _show(request, session, code)
    if is_this_browser and known is None:
        _bind(answer, runtime, cookie, browser)
    return answer


def _show(request: Request, session: Session, confirmation_code: str | None) -> Response:
    if session.status is SessionStatus.EXCHANGING:
        return page("waiting", root=request.scope.get("root_path", ""))
    if session.return_url is not None:
        outcome = {"session_id": session.id, "status": session.status.value}
        if confirmation_code is not None:
            outcome["confirmation_code"] = confirmation_code
        return RedirectResponse(with_outcome(session.return_url, outcome), 303, SECURITY_HEADERS)
    mood, title, text = _PAGES[session.status]
    return page(
        "outcome",
        root=request.scope.get("root_path", ""),
        mood=mood,
        title=title,
        text=text,
        confirmation_code=confirmation_code,
        reference=session.id if session.status is SessionStatus.FAILED else None,
    )


def _error_page(request: Request, error: BrokerError) -> Response:
    if error.status >= 500:
        logger.warning("page_failed", code=error.code, exc_info=error)
    else:
        logger.info("page_refused", code=error.code)
    return page(
        "outcome",
        error.status,
        root=request.scope.get("root_path", ""),
        mood="bad",
        title="This link does not work" if error.status < 500 else "Please try again in a moment",
        text=f"{error.detail[:1].upper()}{error.detail[1:]}.",
        confirmation_code=None,
        reference=request_id_of(request.scope),
    )


def _is_prefetch(request: Request) -> bool:
    """A browser that only guesses must not use up a state."""
    return "prefetch" in request.headers.get("sec-purpose", "") or request.headers.get("purpose") == "prefetch"


def _cookie_name(runtime: Runtime, binding: str) -> str:
    """Name a login's own cookie, so that one browser may have several logins open."""
    # The prefix has browsers insist on Secure, no Domain and Path=/ (RFC 6265bis section 4.1.3.2).
    return f"{'__Host-' if _is_https(runtime) else ''}broker-{binding}"


def _bind(response: Response, runtime: Runtime, cookie: str, browser: str) -> None:
    response.set_cookie(
        cookie,
        browser,
        max_age=86_400,
        path="/",
        secure=_is_https(runtime),
        httponly=True,
        samesite="lax",
    )


def _is_https(runtime: Runtime) -> bool:
    return runtime.settings.public_url.startswith("https://")
