"""A minimal browser: follows redirects, keeps cookies, and fills in the forms of the provider's pages."""

from urllib.parse import urljoin

import httpx

from app.demo.customer import NAVIGATION_HEADERS
from app.demo.forms import read_page

_MAX_REQUESTS = 24


class Browser:
    """One user's browser. Cookies are kept by host and port, because all servers run on the same host."""

    def __init__(self, user: str) -> None:
        self._form_values = {"login": user, "password": "any"}
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def complete(self, url: str) -> None:
        """Open a URL, then follow redirects and submit forms until a page has no form."""
        response = await self._get(url)
        for _ in range(_MAX_REQUESTS):
            if response.is_redirect:
                response = await self._get(urljoin(str(response.url), response.headers["location"]))
                continue
            forms = read_page(response.text).forms
            if not forms:
                return
            action = urljoin(str(response.url), forms[0].action)
            response = await self._client(action).post(action, data=dict(forms[0].submission(self._form_values, None)))
        raise RuntimeError(f"no final page after {_MAX_REQUESTS} requests")

    async def open(self, url: str) -> httpx.Response:
        """Open a URL without following redirects."""
        return await self._get(url)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _get(self, url: str) -> httpx.Response:
        return await self._client(url).get(url, headers=NAVIGATION_HEADERS)

    def _client(self, url: str) -> httpx.AsyncClient:
        origin = str(httpx.URL(url).copy_with(path="/", query=None))
        if origin not in self._clients:
            self._clients[origin] = httpx.AsyncClient(timeout=30)
        return self._clients[origin]
