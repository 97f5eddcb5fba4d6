"""Answers to codes on disk until the database has them: what is lost of one is a consent that nobody can revoke.

Each is put there before the save is tried, and removed after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, SecretStr, field_serializer

from app.base.encryption import KeyRing
from app.observability.logs import get_logger
from app.spool.files import SealedFiles

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnsavedAnswer:
    """What the bank answered to the code of a session."""

    tenant: str
    session_id: str
    received_at: datetime
    body: SecretStr = field(repr=False)


class LoginSpool:
    """A directory of unsaved answers; it may be that of `Spool`."""

    def __init__(self, directory: Path, key_ring: KeyRing) -> None:
        self._files = SealedFiles(directory, key_ring, "login")

    async def keep(self, unsaved: UnsavedAnswer) -> None:
        """Put an answer on disk, as far as the disk will have it."""
        plain = _Record(tenant=unsaved.tenant, received_at=unsaved.received_at, body=unsaved.body).model_dump_json()
        await self._files.keep(unsaved.session_id, SecretStr(plain))

    async def discard(self, session_id: str) -> None:
        """Remove an answer that is saved, or that nobody needs any more."""
        await self._files.discard(session_id)

    def left_over(self) -> Iterator[UnsavedAnswer]:
        """Read what an earlier process left. A file that cannot be read stays, and is logged."""
        for session_id, plain in self._files.left_over():
            try:
                record = _Record.model_validate_json(plain.get_secret_value())
            except ValueError:
                # Its text may quote a token.
                logger.error("spool_unreadable", file=session_id, reason="ValueError")  # noqa: TRY400
                continue
            yield UnsavedAnswer(record.tenant, session_id, record.received_at, record.body)

    def holds(self, session_id: str) -> bool:
        """Tell whether there is an answer of this session."""
        return self._files.holds(session_id)


class _Record(BaseModel):
    tenant: str
    received_at: datetime
    body: SecretStr

    @field_serializer("body", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()
