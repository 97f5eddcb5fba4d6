"""Removes secrets from text: each is replaced by its length."""

from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

_SECRET_PARAMETERS = frozenset({"state", "nonce", "code", "code_challenge", "session_state", "confirmation_code"})


class Redactor:
    """Knows the secrets of a run."""

    def __init__(self) -> None:
        self._replacements: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many texts are replaced. Each encoding of a secret counts."""
        return len(self._replacements)

    def add_secret(self, secret: str) -> str:
        """Replace this value from now on. Returns it unchanged."""
        if secret:
            for encoded in (secret, quote(secret), quote_plus(secret)):
                self._replacements[encoded] = f"••• ({len(secret)} characters)"
        return secret

    def add_secret_parameters(self, url: str) -> str:
        """Replace the query parameters that only the bank, the browser and the broker may know. Returns the URL."""
        for name, value in parse_qsl(urlsplit(url).query):
            if name in _SECRET_PARAMETERS:
                self.add_secret(value)
        return url

    def redact(self, text: str) -> str:
        """Return a text without the secrets."""
        # The longest first, because a secret may contain another one.
        for secret in sorted(self._replacements, key=len, reverse=True):
            text = text.replace(secret, self._replacements[secret])
        return text
