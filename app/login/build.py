"""Puts the login together."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.core import Core
from app.login.callback import CallbackHandler
from app.login.confirmation import Confirmations
from app.login.connect_links import ConnectLinks
from app.login.link_account import AccountLinker
from app.login.return_urls import ReturnUrls
from app.login.session_lease import SessionLease
from app.login.sessions import LoginSessions
from app.login.token_response import TokenResponses
from app.settings import Settings
from app.spool.logins import LoginSpool

# How long a browser waits for the end of its login before it gets a page that asks again, in seconds.
BROWSER_TIMEOUT = 8.0


@dataclass(frozen=True, slots=True)
class LoginServices:
    """A login from its start to the connection that it makes."""

    sessions: LoginSessions
    connect_links: ConnectLinks
    account_linker: AccountLinker
    token_responses: TokenResponses
    callback: CallbackHandler
    confirmation: Confirmations


def build(
    core: Core, bank: Bank, settings: Settings, return_urls: ReturnUrls, *, browser_timeout: float = BROWSER_TIMEOUT
) -> LoginServices:
    """Build the services of one bank client."""
    linking, leases = AccountLinker(core, bank), SessionLease(core)
    spool = LoginSpool(settings.data_dir / "spool", core.key_ring)
    answers = TokenResponses(core, spool=spool, linking=linking, leases=leases)
    return LoginServices(
        sessions=LoginSessions(core, bank, return_urls=return_urls, settings=settings),
        connect_links=ConnectLinks(core, bank),
        account_linker=linking,
        token_responses=answers,
        callback=CallbackHandler(core, bank, answers=answers, leases=leases, browser_timeout=browser_timeout),
        confirmation=Confirmations(core, linking=linking),
    )
