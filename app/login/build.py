"""Builds the services of the login."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.core import Core
from app.login.callback import BROWSER_TIMEOUT, CallbackHandler
from app.login.confirmation import Confirmations
from app.login.connect_links import PUSH_INTERVAL, ConnectLinks
from app.login.link_account import AccountLinker
from app.login.return_urls import ReturnUrls
from app.login.session_lease import LeaseTimes, SessionLease
from app.login.sessions import LoginSessions
from app.login.token_response import TokenResponses
from app.settings import Settings
from app.spool.logins import LoginSpool


@dataclass(frozen=True, slots=True)
class LoginServices:
    """A login from its start to the connection that it makes."""

    sessions: LoginSessions
    connect_links: ConnectLinks
    account_linker: AccountLinker
    token_responses: TokenResponses
    callback: CallbackHandler
    confirmation: Confirmations
    lease: SessionLease


def build(
    core: Core,
    bank: Bank,
    settings: Settings,
    return_urls: ReturnUrls,
    *,
    browser_timeout: float = BROWSER_TIMEOUT,
    lease_times: LeaseTimes = LeaseTimes(),
    push_interval: float = PUSH_INTERVAL,
) -> LoginServices:
    """Build the services of one bank client."""
    account_linker, lease = AccountLinker(core, bank), SessionLease(core, lease_times)
    spool = LoginSpool(settings.data_dir / "spool", core.key_ring)
    token_responses = TokenResponses(core, spool=spool, account_linker=account_linker, lease=lease)
    return LoginServices(
        sessions=LoginSessions(core, bank, return_urls=return_urls, settings=settings),
        connect_links=ConnectLinks(core, bank, push_interval=push_interval),
        account_linker=account_linker,
        token_responses=token_responses,
        callback=CallbackHandler(
            core, bank, token_responses=token_responses, lease=lease, browser_timeout=browser_timeout
        ),
        confirmation=Confirmations(core, account_linker=account_linker),
        lease=lease,
    )
