"""The form of an API key: `brk_<name>_<secret><checksum>`. Leak scanners find it, typing errors do not pass."""

import hashlib
import hmac
import re
import string
import zlib
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.base.randomness import random_text

KEY_MARK = "brk_"
_ALPHABET = string.ascii_letters + string.digits
_FORM = re.compile(r"brk_([A-Za-z0-9]{12})_([A-Za-z0-9]{43})([A-Za-z0-9]{6})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, and the part of it that may be seen and finds it in the database."""

    prefix: str
    secret: SecretStr = field(repr=False)

    def keyed_hash(self, hashing_key: SecretStr) -> str:
        """Return HMAC-SHA-256 of the key: without `hashing_key`, a stolen database cannot be tried against."""
        secret = self.secret.get_secret_value().encode()
        return hmac.new(hashing_key.get_secret_value().encode(), secret, hashlib.sha256).hexdigest()


def new_api_key() -> ApiKey:
    """Draw a key with 256 random bits."""
    name, secret = random_text(_ALPHABET, 12), random_text(_ALPHABET, 43)
    body = f"brk_{name}_{secret}"
    return ApiKey(f"brk_{name}", SecretStr(body + _checksum(body)))


def parse_api_key(text: str) -> ApiKey | None:
    """Return the key, or None where the text is none or has a wrong checksum."""
    match = _FORM.fullmatch(text)
    if match is None or _checksum(text[:-6]) != match[3]:
        return None
    return ApiKey(f"brk_{match[1]}", SecretStr(text))


def _checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
