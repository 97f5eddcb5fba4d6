"""The keys of a run: fresh ones for the demo, kept ones in a file for its owner alone."""

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
    """What must not be printed."""

    encryption_keys: str = field(repr=False)
    client_secret: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)


def fresh_keys() -> Keys:
    """Make keys for one run."""
    return Keys(encryption_keys=f"demo:{generate_key().get_secret_value()}", client_secret=_client_secret())


class KeyFile:
    """The kept keys. Without them the kept data cannot be read."""

    def __init__(self, home: Path) -> None:
        self.path = home / _FILE

    def load(self, *, has_database: bool) -> Keys:
        """Return the kept keys, or fresh ones where nothing was kept yet. Raises Unexpected."""
        if not self.path.exists():
            if has_database:
                raise self._unusable("there is none")
            return self.save(fresh_keys())
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            keys = Keys(kept["encryption_keys"], _client_secret(), kept["api_key"])
        except (ValueError, KeyError, TypeError):
            raise self._unusable("it cannot be read") from None
        # A key of a database that was deleted opens nothing.
        return keys if has_database else replace(keys, api_key=None)

    def save(self, keys: Keys) -> Keys:
        """Keep the keys, whole or not at all, and return them."""
        beside = self.path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"encryption_keys": keys.encryption_keys, "api_key": keys.api_key}, file)
        beside.replace(self.path)
        return keys

    def _unusable(self, why: str) -> Unexpected:
        return Unexpected(
            f"the keys of the data in {self.path.parent}", f"{why}: {self.path}. Delete the directory to begin anew"
        )


def _client_secret() -> str:
    # As Stitch makes them: standard base64, whose signs must be form-encoded.
    return base64.b64encode(random_bytes(32)).decode()
