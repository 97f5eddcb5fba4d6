"""Encryption of what the database must not know: AES-256-GCM with named keys, bound to its row.

A ciphertext reads `v1.<key id>.<base64url of nonce and sealed text>`. The associated data names the table, column,
row and version that it belongs to, so a ciphertext moved elsewhere does not open (NIST SP 800-38D).
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from app.base.randomness import random_bytes
from app.errors import ConfigurationError, DecryptionError

_FORMAT = "v1"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """A sealed value as it is stored. Its text stays out of logs and tracebacks."""

    text: str = field(repr=False)

    @property
    def key_id(self) -> str:
        """The name of the key that sealed it."""
        return self.text.split(".", 2)[1]


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a ciphertext lives; it opens nowhere else."""

    table: str
    column: str
    row: str
    version: int = 0

    def associated_data(self) -> bytes:
        """Return the additional authenticated data of AES-GCM."""
        return "\x1f".join((_FORMAT, self.table, self.column, self.row, str(self.version))).encode()


class KeyRing:
    """The keys by their names. The first encrypts; all of them decrypt."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.primary = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Read `kid:base64(32 bytes)`, comma-separated.

        Raises ConfigurationError, which names the position of what is wrong and never the key.
        """
        keys: dict[str, bytes] = {}
        for position, entry in enumerate((part.strip() for part in text.split(",")), start=1):
            key_id, separator, encoded = entry.partition(":")
            if not separator or not _KEY_ID.fullmatch(key_id):
                raise ConfigurationError(
                    f"entry {position} is not `kid:base64`, with a kid of letters, digits, - and _; "
                    "`broker encryption generate` makes one"
                )
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if len(key) != 32:
                raise ConfigurationError(f"the key {key_id!r} is not the base64 of 32 bytes")
            if key_id in keys:
                raise ConfigurationError(f"the key id {key_id!r} is there twice")
            keys[key_id] = key
        return cls(keys)

    def adopt(self, other: "KeyRing") -> None:
        """Become the same as `other`, for everybody who holds this ring."""
        self._ciphers, self.primary = other._ciphers, other.primary

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Every key's name, the encrypting one first."""
        return tuple(self._ciphers)

    def encrypt(self, secret: SecretStr, binding: Binding) -> Ciphertext:
        """Seal `secret` for the one place that `binding` names."""
        nonce = random_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self.primary].encrypt(
            nonce, secret.get_secret_value().encode(), binding.associated_data()
        )
        return Ciphertext(f"{_FORMAT}.{self.primary}.{base64.urlsafe_b64encode(nonce + sealed).decode()}")

    def decrypt(self, ciphertext: Ciphertext, binding: Binding) -> SecretStr:
        """Open `ciphertext`. Raises DecryptionError where the key is missing or the text does not belong there."""
        try:
            version, key_id, encoded = ciphertext.text.split(".", 2)
            raw = base64.urlsafe_b64decode(encoded)
            if version != _FORMAT or len(raw) < _NONCE_BYTES + _TAG_BYTES:
                raise ValueError(version)
        except ValueError as error:
            raise DecryptionError(f"{binding.table}.{binding.column} does not hold a ciphertext") from error
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise DecryptionError(
                f"{binding.table}.{binding.column} was encrypted with the key {key_id!r}, "
                "which BROKER_ENCRYPTION_KEYS lacks; put it back"
            )
        try:
            return SecretStr(cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], binding.associated_data()).decode())
        except InvalidTag as error:
            raise DecryptionError(
                f"{binding.table}.{binding.column} of {binding.row} was altered, moved, or sealed with another key "
                f"of the name {key_id!r}"
            ) from error


def check_key_id(key_id: str) -> None:
    """Raise ConfigurationError unless a key may have this name."""
    if not _KEY_ID.fullmatch(key_id):
        raise ConfigurationError("a key's name has 1 to 32 letters, digits, - and _")


def generate_key() -> SecretStr:
    """Return a new key, 32 bytes in base64."""
    return SecretStr(base64.b64encode(random_bytes(32)).decode())
