"""The keys of a run: new ones for the demo, or those of an earlier run from a file that only its owner can read."""

import base64
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.base.encryption import generate_key
from app.base.randomness import random_bytes
from app.demo.expectations import Unexpected

_FILE = "keys.json"


@dataclass(frozen=True)
class Keys:
    """The secrets of a run. Its `repr` does not show them."""

    encryption_keys: str = field(repr=False)
    client_secret: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)


def new_keys() -> Keys:
    """Generate keys for one run."""
    return Keys(encryption_keys=f"demo:{generate_key().get_secret_value()}", client_secret=_new_client_secret())


class KeyFile:
    """The file of the kept keys, without which the kept data cannot be read."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / _FILE

    def load(self, *, has_database: bool) -> Keys:
        """Return the kept keys, or new ones if there is no data yet. Raises Unexpected if the data has no keys."""
        if not self.path.exists():
            if has_database:
                raise self._unusable("it does not exist")
            return self.save(new_keys())
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            keys = Keys(kept["encryption_keys"], _new_client_secret(), kept["api_key"])
        except (ValueError, KeyError, TypeError):
            raise self._unusable("it cannot be read") from None
        # If the database was deleted, it does not know the API key any more.
        return keys if has_database else replace(keys, api_key=None)

    def save(self, keys: Keys) -> Keys:
        """Replace the file atomically, and return the keys."""
        draft = self.path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"encryption_keys": keys.encryption_keys, "api_key": keys.api_key}, file)
        draft.replace(self.path)
        return keys

    def _unusable(self, reason: str) -> Unexpected:
        return Unexpected(
            f"the keys of the data in {self.path.parent}", f"{self.path}: {reason}. Delete the directory to start again"
        )


def _new_client_secret() -> str:
    # Like those of Stitch: standard base64, with characters that must be form-encoded.
    return base64.b64encode(random_bytes(32)).decode()
