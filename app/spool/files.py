"""Small files that must survive this process: each encrypted, and forced to disk before it counts."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from app.base.encryption import AssociatedData, Ciphertext, KeyRing
from app.errors import DecryptionError
from app.observability.logs import get_logger
from app.observability.metrics import SPOOLED

_DRAFT = ".draft"
logger = get_logger(__name__)


class SealedFiles:
    """The files of one kind in the spool's directory."""

    def __init__(self, directory: Path, key_ring: KeyRing, kind: str) -> None:
        self._directory = directory
        self._key_ring = key_ring
        self._kind = kind

    async def keep(self, name: str, plain: SecretStr) -> None:
        """Put a text on disk. A disk that refuses is logged and costs nothing but this protection."""
        try:
            await asyncio.to_thread(self._write, name, plain)
            self.measure()
        except OSError as error:
            logger.exception(
                "spool_unwritable", file=self._path(name).name, directory=str(self._directory), reason=error.strerror
            )

    async def discard(self, name: str) -> None:
        """Remove a file, if it is there."""
        # What cannot be removed is replayed at the next start, and then found to be saved.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._path(name).unlink, missing_ok=True)
            self.measure()

    def left_over(self) -> Iterator[tuple[str, SecretStr]]:
        """Read what an earlier process left. A file that cannot be read stays, and is logged."""
        for path in sorted(self._directory.glob(f"*.{self._kind}")):
            try:
                sealed = Ciphertext(path.read_text(encoding="ascii"))
                yield path.stem, self._key_ring.decrypt(sealed, self._binding(path.stem))
            except (OSError, ValueError, DecryptionError) as error:
                logger.exception("spool_unreadable", file=path.name, reason=type(error).__name__)

    def holds(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return self._path(name).exists()

    def measure(self) -> None:
        """Count the files of all kinds that are there."""
        SPOOLED.set(sum(path.suffix != _DRAFT for path in self._directory.glob("*.*")))

    def _write(self, name: str, plain: SecretStr) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(name)
        sealed = self._key_ring.encrypt(plain, self._binding(name))
        draft = path.with_suffix(_DRAFT)
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

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.{self._kind}"

    def _binding(self, name: str) -> AssociatedData:
        return AssociatedData("spool", self._kind, name)
