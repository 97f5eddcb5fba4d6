"""Token responses of refreshes that are on disk until they are in the database.

A response is written before the first attempt to save it, and deleted after the save. It holds the only copy of a
rotated refresh token, which must survive the process.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, SecretStr, field_serializer

from app.base.encryption import KeyRing
from app.observability.logs import get_logger
from app.spool.files import SpoolFiles
from app.store.connections import TokenSet
from app.store.enums import RefreshCause
from app.store.refreshes import Claim, NewTokens

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnsavedRefresh:
    """A claim, the tokens that the bank sent for it, and when the broker sent the request."""

    claim: Claim
    new: NewTokens
    requested_at: datetime


class RefreshSpool:
    """Unsaved refreshes by claim."""

    def __init__(self, directory: Path, key_ring: KeyRing) -> None:
        self._files = SpoolFiles(directory, key_ring, "refresh")

    async def add(self, unsaved: UnsavedRefresh) -> None:
        """Write a refresh to disk. An error of the disk is only logged."""
        await self._files.write(_name(unsaved.claim), SecretStr(_Record.of(unsaved).model_dump_json()))

    async def remove(self, claim: Claim) -> None:
        """Delete the refresh of a claim, if there is one."""
        await self._files.delete(_name(claim))

    def entries(self) -> Iterator[UnsavedRefresh]:
        """Yield all refreshes on disk. A file that cannot be read is logged and kept."""
        for name, text in self._files.read_all():
            try:
                yield _Record.model_validate_json(text.get_secret_value()).to_unsaved()
            except ValueError:
                # The message of the error may quote a token.
                logger.error("spool_unreadable", file=name, reason="ValueError")  # noqa: TRY400

    def update_metric(self) -> None:
        """Count the files of all kinds in the directory."""
        self._files.update_metric()


def _name(claim: Claim) -> str:
    return f"{claim.connection_id}.{claim.fence}"


class _Record(BaseModel):
    """The content of a file. Other versions of the broker read it, so its fields must not be renamed."""

    tenant: str
    connection_id: str
    version: int
    fence: int
    cause: RefreshCause
    follows_unknown: bool
    presented: SecretStr
    access_token: SecretStr
    refresh_token: SecretStr | None
    proof_key: SecretStr | None = None
    lifetime: int | None
    scopes: list[str] | None
    subject: str | None
    asked_at: datetime

    @field_serializer("presented", "access_token", "refresh_token", "proof_key", when_used="json-unless-none")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()

    @classmethod
    def of(cls, unsaved: UnsavedRefresh) -> "_Record":
        claim, new = unsaved.claim, unsaved.new
        return cls(
            tenant=claim.tenant,
            connection_id=claim.connection_id,
            version=claim.version,
            fence=claim.fence,
            cause=claim.cause,
            follows_unknown=claim.follows_unknown,
            presented=claim.refresh_token,
            access_token=new.tokens.access_token,
            refresh_token=new.tokens.refresh_token,
            proof_key=new.tokens.proof_key,
            lifetime=new.lifetime,
            scopes=new.scopes,
            subject=new.subject,
            asked_at=unsaved.requested_at,
        )

    def to_unsaved(self) -> UnsavedRefresh:
        return UnsavedRefresh(
            claim=Claim(
                tenant=self.tenant,
                connection_id=self.connection_id,
                version=self.version,
                fence=self.fence,
                cause=self.cause,
                follows_unknown=self.follows_unknown,
                failures=0,
                refresh_token=self.presented,
            ),
            new=NewTokens(
                tokens=TokenSet(self.access_token, self.refresh_token, self.proof_key),
                lifetime=self.lifetime,
                scopes=self.scopes,
                subject=self.subject,
            ),
            requested_at=self.asked_at,
        )
