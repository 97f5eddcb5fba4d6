"""Secrets in what is printed: every value that was hidden is shown by its length only."""

from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

_SECRET_PARAMETERS = frozenset({"state", "nonce", "code", "code_challenge", "session_state", "confirmation_code"})


class Disguise:
    """Knows the secrets of a run, and keeps them out of texts."""

    def __init__(self) -> None:
        self._masks: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many texts are hidden, each way of writing a secret for itself."""
        return len(self._masks)

    def hide(self, secret: str) -> str:
        """Hide a value from now on, and return it as it is."""
        if secret:
            for form in (secret, quote(secret), quote_plus(secret)):
                self._masks[form] = f"••• ({len(secret)} characters)"
        return secret

    def hide_parameters(self, url: str) -> str:
        """Hide the values in a URL's query that only the bank, the browser and the broker may know."""
        for name, value in parse_qsl(urlsplit(url).query):
            if name in _SECRET_PARAMETERS:
                self.hide(value)
        return url

    def apply(self, text: str) -> str:
        """Return a text without what is hidden."""
        for secret in sorted(self._masks, key=len, reverse=True):
            text = text.replace(secret, self._masks[secret])
        return text
