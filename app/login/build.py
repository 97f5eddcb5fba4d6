"""Puts the login together."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.core import Core
from app.login.callback import Completion
from app.login.confirmation import Confirmations
from app.login.connect_links import ConnectLinks
from app.login.link_account import Linking
from app.login.return_urls import ReturnUrls
from app.login.session_lease import SessionLeases
from app.login.sessions import Logins
from app.login.token_response import Answers
from app.settings import Settings
from app.spool.logins import LoginSpool

# How long a browser waits for the end of its login before it gets a page that asks again, in seconds.
BROWSER_TIMEOUT = 8.0


@dataclass(frozen=True, slots=True)
class LoginServices:
    """A login from its start to the connection that it makes."""

    sessions: Logins
    connect_links: ConnectLinks
    account_linker: Linking
    token_responses: Answers
    callback: Completion
    confirmation: Confirmations


def build(
    core: Core, bank: Bank, settings: Settings, return_urls: ReturnUrls, *, browser_timeout: float = BROWSER_TIMEOUT
) -> LoginServices:
    """Build the services of one bank client."""
    linking, leases = Linking(core, bank), SessionLeases(core)
    spool = LoginSpool(settings.data_dir / "spool", core.key_ring)
    answers = Answers(core, spool=spool, linking=linking, leases=leases)
    return LoginServices(
        sessions=Logins(core, bank, return_urls=return_urls, settings=settings),
        connect_links=ConnectLinks(core, bank),
        account_linker=linking,
        token_responses=answers,
        callback=Completion(core, bank, answers=answers, leases=leases, browser_timeout=browser_timeout),
        confirmation=Confirmations(core, linking=linking),
    )
