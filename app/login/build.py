"""The services that carry a login from the bank's redirect to its end, put together."""

from pathlib import Path
from typing import NamedTuple

from app.base.clock import Clock
from app.base.encryption import KeyRing
from app.concurrency.background_tasks import BackgroundTasks
from app.login.callback import Completion
from app.login.confirmation import Confirmations
from app.login.link_account import Linking
from app.login.session_lease import SessionLeases
from app.login.token_response import Answers
from app.oidc.provider import Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.spool.logins import LoginSpool
from app.store.postgresql.database import Database


class CallbackServices(NamedTuple):
    """What comes after the redirect."""

    linking: Linking
    answers: Answers
    completion: Completion
    confirmations: Confirmations


def callback_services(
    *,
    database: Database,
    key_ring: KeyRing,
    provider: Provider,
    token_endpoint: TokenEndpoint,
    client_id: str,
    spool: Path,
    tasks: BackgroundTasks,
    clock: Clock,
    patience: float,
) -> CallbackServices:
    """Put them together. `patience`: the seconds that a browser is kept waiting."""
    linking = Linking(database=database, key_ring=key_ring, provider=provider, clock=clock, client_id=client_id)
    leases = SessionLeases(database, clock)
    answers = Answers(
        database=database,
        key_ring=key_ring,
        spool=LoginSpool(spool, key_ring),
        linking=linking,
        leases=leases,
        clock=clock,
    )
    completion = Completion(
        database=database,
        key_ring=key_ring,
        provider=provider,
        token_endpoint=token_endpoint,
        answers=answers,
        leases=leases,
        tasks=tasks,
        clock=clock,
        patience=patience,
    )
    return CallbackServices(
        linking, answers, completion, Confirmations(database=database, key_ring=key_ring, linking=linking)
    )
