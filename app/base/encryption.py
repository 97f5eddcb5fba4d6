"""Encryption of secrets in the database and on disk: AES-256-GCM (NIST SP 800-38D) with several named keys.

A ciphertext has the form `v1.<key id>.<base64url of nonce and encrypted text>`. The associated data names the table,
column, row and version, so that a ciphertext that is copied elsewhere cannot be decrypted there.
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
    """An encrypted value in its stored form. Its text is kept out of logs and tracebacks."""

    text: str = field(repr=False)

    @property
    def key_id(self) -> str:
        """The id of the key that encrypted it."""
        return self.text.split(".", 2)[1]


@dataclass(frozen=True, slots=True)
class AssociatedData:
    """Where a ciphertext is stored; it can be decrypted only there."""

    table: str
    column: str
    row: str
    version: int = 0

    def encode(self) -> bytes:
        """Return the additional authenticated data for AES-GCM."""
        return "\x1f".join((_FORMAT, self.table, self.column, self.row, str(self.version))).encode()


class KeyRing:
    """Encryption keys by id. The first one encrypts; all of them decrypt."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.primary_key_id = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Parse `key id:base64 of 32 bytes`, comma-separated.

        Raises ConfigurationError, which names the position of a wrong entry but never contains a key.
        """
        keys: dict[str, bytes] = {}
        for position, entry in enumerate((part.strip() for part in text.split(",")), start=1):
            key_id, separator, encoded = entry.partition(":")
            if not separator or not _KEY_ID.fullmatch(key_id):
                raise ConfigurationError(
                    f"entry {position} is not `id:base64`, with an id of letters, digits, - and _; "
                    "`broker encryption generate` creates one"
                )
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if len(key) != 32:
                raise ConfigurationError(f"the key {key_id!r} is not 32 bytes in base64")
            if key_id in keys:
                raise ConfigurationError(f"the key id {key_id!r} is used twice")
            keys[key_id] = key
        return cls(keys)

    def replace_with(self, other: "KeyRing") -> None:
        """Take over the keys of `other`. All code that holds a reference to this key ring uses them from now on."""
        self._ciphers, self.primary_key_id = other._ciphers, other.primary_key_id

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, that of the encrypting key first."""
        return tuple(self._ciphers)

    def encrypt(self, secret: SecretStr, associated_data: AssociatedData) -> Ciphertext:
        """Encrypt `secret` for the place that `associated_data` names."""
        nonce = random_bytes(_NONCE_BYTES)
        encrypted = self._ciphers[self.primary_key_id].encrypt(
            nonce, secret.get_secret_value().encode(), associated_data.encode()
        )
        return Ciphertext(f"{_FORMAT}.{self.primary_key_id}.{base64.urlsafe_b64encode(nonce + encrypted).decode()}")

    def decrypt(self, ciphertext: Ciphertext, associated_data: AssociatedData) -> SecretStr:
        """Decrypt `ciphertext`. Raises DecryptionError if its key is missing, or if it was altered or moved."""
        column = f"{associated_data.table}.{associated_data.column}"
        try:
            version, key_id, encoded = ciphertext.text.split(".", 2)
            raw = base64.urlsafe_b64decode(encoded)
            if version != _FORMAT or len(raw) < _NONCE_BYTES + _TAG_BYTES:
                raise ValueError(version)
        except ValueError as error:
            raise DecryptionError(f"{column} does not contain a ciphertext") from error
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise DecryptionError(
                f"{column} was encrypted with the key {key_id!r}, "
                "which is missing in BROKER_ENCRYPTION_KEYS; put it back"
            )
        try:
            return SecretStr(cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], associated_data.encode()).decode())
        except InvalidTag as error:
            raise DecryptionError(
                f"{column} of {associated_data.row} was altered, moved, or encrypted with a different key "
                f"whose id is also {key_id!r}"
            ) from error


def check_key_id(key_id: str) -> None:
    """Raise ConfigurationError unless this is a valid key id."""
    if not _KEY_ID.fullmatch(key_id):
        raise ConfigurationError("a key id has 1 to 32 letters, digits, - and _")


def generate_key() -> SecretStr:
    """Return a new key, 32 bytes in base64."""
    return SecretStr(base64.b64encode(random_bytes(32)).decode())
