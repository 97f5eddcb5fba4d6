"""The application factory."""

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from sandbox import approval, control
from sandbox.bank import Bank
from sandbox.fault_injection import FaultInjection
from sandbox.graphql import endpoint
from sandbox.oidc import authorize, discovery, pushed_requests, revocation, token
from sandbox.oidc.errors import (
    InvalidParameterError,
    OAuthError,
    invalid_parameter_response,
    oauth_error_response,
)
from sandbox.rendering import PAGES
from sandbox.settings import SandboxSettings


def create_app(settings: SandboxSettings) -> FastAPI:
    """Return a bank of its own: two applications share nothing."""
    bank = Bank(settings)
    application = FastAPI(title="Sandbox bank", docs_url=None, redoc_url=None)
    application.state.bank = bank
    for part in (discovery, pushed_requests, authorize, token, revocation, endpoint, approval, control):
        application.include_router(part.router)
    application.mount("/assets", StaticFiles(directory=PAGES / "assets"))
    application.add_exception_handler(OAuthError, oauth_error_response)
    application.add_exception_handler(InvalidParameterError, invalid_parameter_response)
    application.add_middleware(GZipMiddleware, minimum_size=1024)
    # Added last, so outermost: a spoilt answer is the compressed one.
    application.add_middleware(FaultInjection, bank=bank)
    return application
