"""A user's browser: follows redirects, keeps cookies, fills in the forms of the provider's pages."""

from urllib.parse import urljoin

import httpx

from app.demo.forms import read_page

_ANSWERS = {"password": "any"}
_MOST_PAGES = 8


class Browser:
    """One user's browser. Cookies are kept for each host and port apart, as everything here is on one host."""

    def __init__(self, user: str) -> None:
        self._answers = {**_ANSWERS, "login": user}
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def walk(self, url: str, *, stop_before: str | None = None) -> tuple[str, str]:
        """Open an address and go on, by redirects and forms, to a page without any; return its address and text.

        With `stop_before`, end with the first address that begins with it, without opening it.
        """
        response = await self._get(url)
        for _ in range(_MOST_PAGES * 3):
            if response.is_redirect:
                location = urljoin(str(response.url), response.headers["location"])
                if stop_before is not None and location.startswith(stop_before):
                    return location, ""
                response = await self._get(location)
                continue
            forms = read_page(response.text).forms
            if not forms:
                return str(response.url), response.text
            action = urljoin(str(response.url), forms[0].action)
            response = await self._client(action).post(action, data=dict(forms[0].submission(self._answers, None)))
        raise RuntimeError("the pages lead nowhere")

    async def open(self, url: str) -> httpx.Response:
        """Open one address, and follow nothing."""
        return await self._get(url)

    async def close(self) -> None:
        """Forget everything."""
        for client in self._clients.values():
            await client.aclose()

    async def _get(self, url: str) -> httpx.Response:
        return await self._client(url).get(url, headers={"accept": "text/html"})

    def _client(self, url: str) -> httpx.AsyncClient:
        origin = str(httpx.URL(url).copy_with(path="/", query=None))
        if origin not in self._clients:
            self._clients[origin] = httpx.AsyncClient(timeout=30)
        return self._clients[origin]
