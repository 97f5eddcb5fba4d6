"""The environment for the code of the pages, and the actions between the blocks."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from app.store.postgresql.database_time import seconds_from_now
from sandbox.browser import submit
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET
from tests.docs.pages import Action
from tests.support.broker import ENCRYPTION_KEY, Api, Broker, Browser
from tests.support.journey import go_to_bank

_IDS = re.compile(r"\b(ses|con|cal|key|whk|evt|int)_[0-9a-zA-Z]{8,}")


@dataclass
class Stage:
    """A running broker with a caller of its own, the bank, and the user's browser."""

    broker: Broker
    api: Api
    bank: SandboxClient
    bank_url: str
    browser: Browser
    operators_database: SecretStr
    """The database of the `broker` command and of SQL. Each page has its own, so that no page affects another."""
    output: str = ""
    """Everything that the code has printed so far."""
    latest_output: str = ""
    """What the last block has printed."""
    returned_to: str = ""
    """The last URL to which the browser was redirected."""

    def substitute(self, code: str) -> str:
        """Replace the placeholders of the pages by the values of this run.

        These are URLs, the API key, ids such as `ses_…` (the last id of that kind in the output), `<session_id>` and
        `<confirmation_code>` (from the URL to which the browser was redirected).
        """
        code = code.replace("http://127.0.0.1:8000", self.broker.url).replace("http://127.0.0.1:9000", self.bank_url)
        code = code.replace("brk_…", self.api.api_key)
        latest = {found[1]: found[0] for found in _IDS.finditer(self.output)}
        for kind, identity in latest.items():
            code = code.replace(f"{kind}_…", identity)
        for name, value in parse_qsl(urlsplit(self.returned_to).query):
            code = code.replace(f"<{name}>", value)
        return code

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of the `broker` command."""
        settings = self.broker.settings
        return {
            "BROKER_DATABASE_URL": self.operators_database.get_secret_value(),
            "BROKER_DATA_DIR": str(settings.data_dir),
            "BROKER_PUBLIC_URL": settings.public_url,
            "BROKER_STITCH_ISSUER": settings.stitch_issuer,
            "BROKER_STITCH_GRAPHQL_URL": settings.stitch_graphql_url,
            "BROKER_STITCH_CLIENT_ID": CLIENT_ID,
            "BROKER_STITCH_CLIENT_SECRET": CLIENT_SECRET,
            "BROKER_ENCRYPTION_KEYS": f"test:{ENCRYPTION_KEY}",
        }

    async def perform(self, action: Action) -> None:
        """Perform the action of a comment."""
        assert action.name in ACTIONS, f"{action} is unknown; the known actions are in tests/docs/stage.py"
        await ACTIONS[action.name](self)

    async def log_in(self, decision: str = "allow", username: str = "thandi", scopes: list[str] | None = None) -> None:
        """Open the link of the latest pending session, and log in and decide at the bank."""
        pending = (await self.api.get("/v1/sessions", params={"status": "pending", "limit": 1})).json()["items"]
        assert pending, "there is no pending session"
        location = await go_to_bank(
            self.bank, self.browser, pending[0], username=username, decision=decision, scopes=scopes
        )
        response = await self.browser.open(location)
        self.returned_to = response.headers.get("location", "")

    async def _link(self) -> None:
        connection = await self.broker.rows.link(self.bank, tenant=self.api.tenant, user_id="user-42")
        self.output += connection.id

    async def _log_in(self) -> None:
        await self.log_in()

    async def _cancel(self) -> None:
        await self.log_in(decision="cancel")

    async def _log_in_as_another(self) -> None:
        await self.log_in(username="johan")

    async def _deny_offline_access(self) -> None:
        await self.log_in(scopes=["accounts", "balances", "transactions"])

    async def _let_session_expire(self) -> None:
        pending = (await self.api.get("/v1/sessions", params={"status": "pending", "limit": 1})).json()["items"]
        await self.broker.rows.change_session(pending[0]["id"], expires_at=seconds_from_now(-1))

    async def _approve(self) -> None:
        [*_, connect_url] = re.findall(r"http[^\s\"]*/connect/interactions/[\w-]+", self.output)
        opened = await self.browser.open(connect_url)
        page = await self.bank.http.get(opened.headers["location"])
        await self.browser.open((await submit(self.bank.http, page, {"decision": "allow"})).headers["location"])

    async def _expire_tokens(self) -> None:
        await self.bank.control("expire")

    async def _withdraw_consent(self) -> None:
        await self.bank.control("revoke-consent", sub=await self.bank.sub_of("thandi"))
        await self.bank.control("expire")


ACTIONS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "a user has linked an account": Stage._link,
    "the user logs in": Stage._log_in,
    "the user cancels": Stage._cancel,
    "another person logs in": Stage._log_in_as_another,
    "the user does not grant offline_access": Stage._deny_offline_access,
    "the user does nothing until the time is over": Stage._let_session_expire,
    "the user approves at the bank": Stage._approve,
    "the access token expires": Stage._expire_tokens,
    "the user withdraws the consent at the bank": Stage._withdraw_consent,
}
