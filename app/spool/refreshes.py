"""Answers of the bank on disk until the database has them: the one copy of a rotated token must survive this process.

Each is put there before the save is tried, and removed after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, SecretStr, field_serializer

from app.base.encryption import KeyRing
from app.observability.logs import get_logger
from app.spool.files import SealedFiles
from app.store.connections import TokenPair
from app.store.refreshes import Claim, NewTokens

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Unsaved:
    """A claim, what the bank answered to it, and when it was asked."""

    claim: Claim
    new: NewTokens
    asked_at: datetime


class Spool:
    """A directory of unsaved answers."""

    def __init__(self, directory: Path, key_ring: KeyRing) -> None:
        self._files = SealedFiles(directory, key_ring, "refresh")

    async def keep(self, unsaved: Unsaved) -> None:
        """Put an answer on disk, as far as the disk will have it."""
        await self._files.keep(_name(unsaved.claim), SecretStr(_Record.of(unsaved).model_dump_json()))

    async def discard(self, claim: Claim) -> None:
        """Remove an answer that is saved, or that nobody needs any more."""
        await self._files.discard(_name(claim))

    def left_over(self) -> Iterator[Unsaved]:
        """Read what an earlier process left. A file that cannot be read stays, and is logged."""
        for name, plain in self._files.left_over():
            try:
                yield _Record.model_validate_json(plain.get_secret_value()).unsaved()
            except ValueError:
                # Its text may quote a token.
                logger.error("spool_unreadable", file=name, reason="ValueError")  # noqa: TRY400

    def measure(self) -> None:
        """Count the files of all kinds that are there."""
        self._files.measure()


def _name(claim: Claim) -> str:
    return f"{claim.connection_id}.{claim.fence}"


class _Record(BaseModel):
    """The plain form of one file. Its secrets stay wrapped until they are sealed."""

    tenant: str
    connection_id: str
    version: int
    fence: int
    cause: str
    follows_unknown: bool
    presented: SecretStr
    access_token: SecretStr
    refresh_token: SecretStr | None
    proof_key: SecretStr | None = None
    lifetime: int
    scopes: list[str] | None
    subject: str | None
    asked_at: datetime

    @field_serializer("presented", "access_token", "refresh_token", "proof_key", when_used="json-unless-none")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()

    @classmethod
    def of(cls, unsaved: Unsaved) -> "_Record":
        claim, new = unsaved.claim, unsaved.new
        return cls(
            tenant=claim.tenant,
            connection_id=claim.connection_id,
            version=claim.version,
            fence=claim.fence,
            cause=claim.cause,
            follows_unknown=claim.follows_unknown,
            presented=claim.refresh_token,
            access_token=new.pair.access_token,
            refresh_token=new.pair.refresh_token,
            proof_key=new.pair.proof_key,
            lifetime=new.lifetime,
            scopes=new.scopes,
            subject=new.subject,
            asked_at=unsaved.asked_at,
        )

    def unsaved(self) -> Unsaved:
        return Unsaved(
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
                pair=TokenPair(self.access_token, self.refresh_token, self.proof_key),
                lifetime=self.lifetime,
                scopes=self.scopes,
                subject=self.subject,
            ),
            asked_at=self.asked_at,
        )
