"""The application factory."""

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from sandbox import approval, control
from sandbox.bank import Bank
from sandbox.fault_injection import FaultInjection
from sandbox.graphql import endpoint
from sandbox.oidc import authorize, discovery, pushed_authorization, revocation, token
from sandbox.oidc.errors import (
    InvalidParameterError,
    OAuthError,
    invalid_parameter_response,
    oauth_error_response,
)
from sandbox.rendering import PAGES
from sandbox.settings import SandboxSettings


def create_app(settings: SandboxSettings) -> FastAPI:
    """Create an application with its own bank; two applications share no state."""
    bank = Bank(settings)
    application = FastAPI(title="Sandbox bank", docs_url=None, redoc_url=None)
    application.state.bank = bank
    for module in (discovery, pushed_authorization, authorize, token, revocation, endpoint, approval, control):
        application.include_router(module.router)
    application.mount("/assets", StaticFiles(directory=PAGES / "assets"))
    application.add_exception_handler(OAuthError, oauth_error_response)
    application.add_exception_handler(InvalidParameterError, invalid_parameter_response)
    application.add_middleware(GZipMiddleware, minimum_size=1024)
    # Added last and so outermost: it truncates the compressed response.
    application.add_middleware(FaultInjection, bank=bank)
    return application
