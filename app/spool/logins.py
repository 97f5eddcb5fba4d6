"""Token responses of logins that are on disk until they are in the database.

A response is written before the first attempt to save it, and deleted after the save. If one were lost, the user would
have granted access that the broker could neither use nor revoke.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, SecretStr, field_serializer

from app.base.encryption import KeyRing
from app.observability.logs import get_logger
from app.spool.files import SpoolFiles

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnsavedTokenResponse:
    """The bank's response to the authorization code of a session."""

    tenant: str
    session_id: str
    received_at: datetime
    body: SecretStr = field(repr=False)


class LoginSpool:
    """Unsaved token responses by session. The directory may be that of a RefreshSpool."""

    def __init__(self, directory: Path, key_ring: KeyRing) -> None:
        self._files = SpoolFiles(directory, key_ring, "login")

    async def add(self, unsaved: UnsavedTokenResponse) -> None:
        """Write a response to disk. An error of the disk is only logged."""
        record = _Record(tenant=unsaved.tenant, received_at=unsaved.received_at, body=unsaved.body)
        await self._files.write(unsaved.session_id, SecretStr(record.model_dump_json()))

    async def remove(self, session_id: str) -> None:
        """Delete the response of a session, if there is one."""
        await self._files.delete(session_id)

    def entries(self) -> Iterator[UnsavedTokenResponse]:
        """Yield all responses on disk. A file that cannot be read is logged and kept."""
        for session_id, text in self._files.read_all():
            try:
                record = _Record.model_validate_json(text.get_secret_value())
            except ValueError:
                # The message of the error may quote a token.
                logger.error("spool_unreadable", file=session_id, reason="ValueError")  # noqa: TRY400
                continue
            yield UnsavedTokenResponse(record.tenant, session_id, record.received_at, record.body)

    def contains(self, session_id: str) -> bool:
        """Return whether the response of a session is on disk."""
        return self._files.exists(session_id)


class _Record(BaseModel):
    """The content of a file. Other versions of the broker read it, so its fields must not be renamed."""

    tenant: str
    received_at: datetime
    body: SecretStr

    @field_serializer("body", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()
