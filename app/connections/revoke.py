"""Revokes connections and unused tokens within a transaction: erased here, and queued to be revoked at the bank."""

from pydantic import SecretStr

from app.base.bank_client import BankClient
from app.base.encryption import KeyRing
from app.errors import BankResponseInvalid, DecryptionError
from app.observability.logs import get_logger
from app.oidc.token_response import parse_token_response
from app.store import audit
from app.store.connections import (
    Connection,
    TokenSet,
    change_connection,
    erase_tokens,
    get_connection_with_tokens,
    publish_connection_event,
)
from app.store.enums import ConnectionStatus, EventType
from app.store.postgresql.database import Transaction
from app.store.postgresql.database_time import seconds_from_now
from app.store.revocations import enqueue_revocation
from app.store.session_secrets import session_associated_data
from app.store.sessions import Session

logger = get_logger(__name__)


async def revoke_connection(
    transaction: Transaction, key_ring: KeyRing, connection: Connection, *, actor: str, reason: str
) -> None:
    """Turn a locked connection into a tombstone: erase its tokens, and queue their revocation at the bank."""
    if connection.status is ConnectionStatus.REVOKED:
        return
    try:
        stored = await get_connection_with_tokens(transaction, key_ring, connection.tenant, connection.id)
    except DecryptionError as error:
        # Tokens that cannot be decrypted cannot be revoked at the bank. They are useless, and are erased nevertheless.
        logger.error("tokens_unreadable", connection_id=connection.id, detail=error.detail)  # noqa: TRY400
        stored = None
    if stored is not None and stored.tokens is not None:
        await enqueue_revocation(
            transaction,
            key_ring,
            tenant=connection.tenant,
            client=connection.bank_client,
            connection_id=connection.id,
            tokens=stored.tokens,
            reason=reason,
        )
    await erase_tokens(transaction, connection.id)
    await change_connection(
        transaction,
        connection.id,
        status=ConnectionStatus.REVOKED,
        revoked_at=seconds_from_now(0),
        refreshable=False,
        access_token_expires_at=None,
        lease_until=None,
        retry_at=None,
    )
    await publish_connection_event(
        transaction, EventType.CONNECTION_REVOKED, connection, version=connection.version, reason=reason
    )
    await audit.record(transaction, "connection.revoked", of=connection, actor=actor, reason=reason)


async def revoke_token_response(
    transaction: Transaction,
    key_ring: KeyRing,
    *,
    tenant: str,
    client: BankClient,
    session_id: str,
    body: SecretStr,
    reason: str,
) -> None:
    """Queue the revocation of the tokens in a token response that is not used. It may have none."""
    try:
        tokens = parse_token_response(body)
    except BankResponseInvalid:
        return
    await enqueue_revocation(
        transaction,
        key_ring,
        tenant=tenant,
        client=client,
        session_id=session_id,
        tokens=TokenSet(tokens.access_token or SecretStr(""), tokens.refresh_token),
        reason=reason,
    )


async def revoke_stored_token_response(
    transaction: Transaction, key_ring: KeyRing, session: Session, *, reason: str
) -> None:
    """Queue the revocation of the tokens that a session has stored, if any."""
    if session.token_response is None:
        return
    try:
        body = key_ring.decrypt(session.token_response, session_associated_data("token_response", session.id))
    except DecryptionError as error:
        logger.error("tokens_unreadable", session_id=session.id, detail=error.detail)  # noqa: TRY400
        return
    await revoke_token_response(
        transaction,
        key_ring,
        tenant=session.tenant,
        client=session.bank_client,
        session_id=session.id,
        body=body,
        reason=reason,
    )
