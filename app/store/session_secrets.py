"""The encrypted columns of sessions."""

from pydantic import SecretStr

from app.base.encryption import AssociatedData, KeyRing
from app.store.sessions import Session


def session_associated_data(column: str, session_id: str) -> AssociatedData:
    """Return what a session's encrypted column is bound to."""
    return AssociatedData("stitch_authorization_requests", column, session_id)


def proof_key_of(session: Session, key_ring: KeyRing) -> SecretStr | None:
    """Return the DPoP key that the session's tokens are bound to, if there is one. Raises DecryptionError."""
    if session.proof_key is None:
        return None
    return key_ring.decrypt(session.proof_key, session_associated_data("proof_key", session.id))
