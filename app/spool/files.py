"""Small files that must survive the process: each is encrypted and flushed to disk."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from app.base.encryption import AssociatedData, Ciphertext, KeyRing
from app.errors import DecryptionError
from app.observability.logs import get_logger
from app.observability.metrics import SPOOL_FILES

_DRAFT_SUFFIX = ".draft"
logger = get_logger(__name__)


class SpoolFiles:
    """The files of one kind in the spool directory. Their names end in `.<kind>`."""

    def __init__(self, directory: Path, key_ring: KeyRing, kind: str) -> None:
        self._directory = directory
        self._key_ring = key_ring
        self._kind = kind

    async def write(self, name: str, text: SecretStr) -> None:
        """Write a file. An error of the disk is logged, and costs only the protection that the file would give."""
        try:
            await asyncio.to_thread(self._write, name, text)
            self.update_metric()
        except OSError as error:
            logger.exception(
                "spool_unwritable", file=self._path(name).name, directory=str(self._directory), reason=error.strerror
            )

    async def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        # A file that cannot be deleted is replayed at the next start, which finds its content already saved.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._path(name).unlink, missing_ok=True)
            self.update_metric()

    def read_all(self) -> Iterator[tuple[str, SecretStr]]:
        """Yield the name and text of each file. A file that cannot be read is logged and kept."""
        for path in sorted(self._directory.glob(f"*.{self._kind}")):
            try:
                ciphertext = Ciphertext(path.read_text(encoding="ascii"))
                yield path.stem, self._key_ring.decrypt(ciphertext, self._associated_data(path.stem))
            except (OSError, ValueError, DecryptionError) as error:
                logger.exception("spool_unreadable", file=path.name, reason=type(error).__name__)

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return self._path(name).exists()

    def update_metric(self) -> None:
        """Count the files of all kinds."""
        SPOOL_FILES.set(sum(path.suffix != _DRAFT_SUFFIX for path in self._directory.glob("*.*")))

    def _write(self, name: str, text: SecretStr) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(name)
        ciphertext = self._key_ring.encrypt(text, self._associated_data(name))
        draft = path.with_suffix(_DRAFT_SUFFIX)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(ciphertext.text)
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

    def _associated_data(self, name: str) -> AssociatedData:
        return AssociatedData("spool", self._kind, name)
