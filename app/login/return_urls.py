"""Restricts where a browser may be sent after its login to an allow-list (RFC 9700 section 4.11)."""

from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from app.errors import UnprocessableRequest


class ReturnUrls:
    """An allow-list of URLs, each exact or a prefix that ends in `/*`."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._exact = {url for url in allowed if not url.endswith("/*")}
        self._below = [urlsplit(url.removesuffix("*")) for url in allowed if url.endswith("/*")]

    def require(self, url: str) -> None:
        """Raise UnprocessableRequest unless `url` is allowed."""
        if url not in self._exact and not self._is_below(url):
            raise return_url_not_allowed()

    def _is_below(self, url: str) -> bool:
        # Browsers parse backslashes, spaces and control characters differently than urllib does.
        if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
            return False
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return False
        if "#" in url or parts.username is not None or parts.password is not None:
            return False
        path = _fully_decoded(parts.path)
        # Some servers remove everything after a semicolon before they resolve a path.
        if "\\" in path or not path.isprintable():
            return False
        if any(segment.partition(";")[0] in (".", "..") for segment in path.split("/")):
            return False
        return any(
            (parts.scheme, parts.hostname, port) == (base.scheme, base.hostname, base.port)
            and parts.path.startswith(base.path)
            for base in self._below
        )


def with_outcome(url: str, outcome: dict[str, str]) -> str:
    """Add the outcome to the query of a return URL, replacing parameters of the same names."""
    parts = urlsplit(url)
    given = {*outcome, "confirmation_code"}
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in given]
    return urlunsplit(parts._replace(query=urlencode([*kept, *outcome.items()])))


def _fully_decoded(path: str) -> str:
    for _ in range(5):
        decoded = unquote(path)
        if decoded == path:
            return path
        path = decoded
    return ".."


def return_url_not_allowed() -> UnprocessableRequest:
    """Return the error for a return URL that is not on the allow-list."""
    return UnprocessableRequest(
        "return_url is not one of BROKER_RETURN_URLS; add it there, or use one that is", code="return_url_not_allowed"
    )
