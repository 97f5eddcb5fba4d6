"""Answers of the bank on disk until the database has them: the one copy of a rotated token must survive this process.

Each file is encrypted, forced to disk before the save is tried, and removed after it.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, SecretStr, field_serializer

from app.encryption import Binding, Ciphertext, DecryptionError, KeyRing
from app.logs import get_logger
from app.metrics import SPOOLED
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
        self._directory = directory
        self._key_ring = key_ring

    async def keep(self, unsaved: Unsaved) -> None:
        """Put an answer on disk. A disk that refuses is logged and costs nothing but this protection."""
        try:
            await asyncio.to_thread(self._write, unsaved)
            SPOOLED.set(len(self))
        except OSError as error:
            logger.exception(
                "spool_unwritable",
                connection_id=unsaved.claim.connection_id,
                directory=str(self._directory),
                reason=error.strerror,
            )

    async def discard(self, claim: Claim) -> None:
        """Remove an answer that is saved, or that nobody needs any more."""
        path = self._path(claim.connection_id, claim.fence)
        # What cannot be removed is replayed at the next start, and then found to be saved.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(path.unlink, missing_ok=True)
            SPOOLED.set(len(self))

    def left_over(self) -> Iterator[Unsaved]:
        """Read what an earlier process left. A file that cannot be read stays, and is logged."""
        for path in sorted(self._directory.glob("*.refresh")):
            try:
                yield self._read(path)
            except (OSError, ValueError, DecryptionError) as error:
                logger.exception("spool_unreadable", file=path.name, reason=type(error).__name__)

    def __len__(self) -> int:
        return sum(1 for _ in self._directory.glob("*.refresh"))

    def _write(self, unsaved: Unsaved) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        claim = unsaved.claim
        path = self._path(claim.connection_id, claim.fence)
        plain = SecretStr(_Record.of(unsaved).model_dump_json())
        sealed = self._key_ring.encrypt(plain, _binding(claim.connection_id, claim.fence))
        draft = path.with_suffix(".draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(sealed.text)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _read(self, path: Path) -> Unsaved:
        connection_id, _, fence = path.stem.rpartition(".")
        sealed = Ciphertext(path.read_text(encoding="ascii"))
        plain = self._key_ring.decrypt(sealed, _binding(connection_id, int(fence)))
        return _Record.model_validate_json(plain.get_secret_value()).unsaved()

    def _path(self, connection_id: str, fence: int) -> Path:
        return self._directory / f"{connection_id}.{fence}.refresh"


def _binding(connection_id: str, fence: int) -> Binding:
    return Binding("spool", "refresh", connection_id, fence)


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
