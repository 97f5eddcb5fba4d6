"""The format of an API key, `brk_<name>_<secret><checksum>`: leak scanners recognise it, and typos are detected."""

import hashlib
import hmac
import re
import string
import zlib
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.base.randomness import random_text

KEY_PREFIX = "brk_"
_ALPHABET = string.ascii_letters + string.digits
_FORMAT = re.compile(r"brk_([A-Za-z0-9]{12})_([A-Za-z0-9]{43})([A-Za-z0-9]{6})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key. `prefix` is the part that is not secret and by which it is found in the database."""

    prefix: str
    secret: SecretStr = field(repr=False)

    def keyed_hash(self, hashing_key: SecretStr) -> str:
        """Return HMAC-SHA-256 of the key: without `hashing_key`, guesses cannot be tested against a stolen database."""
        secret = self.secret.get_secret_value().encode()
        return hmac.new(hashing_key.get_secret_value().encode(), secret, hashlib.sha256).hexdigest()


def new_api_key() -> ApiKey:
    """Return a new key with 256 random bits."""
    name, secret = random_text(_ALPHABET, 12), random_text(_ALPHABET, 43)
    body = f"brk_{name}_{secret}"
    return ApiKey(f"brk_{name}", SecretStr(body + _checksum(body)))


def parse_api_key(text: str) -> ApiKey | None:
    """Return the key, or None if the text is not an API key or its checksum is wrong."""
    match = _FORMAT.fullmatch(text)
    if match is None or _checksum(text[:-6]) != match[3]:
        return None
    return ApiKey(f"brk_{match[1]}", SecretStr(text))


def _checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
