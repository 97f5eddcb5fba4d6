"""The steps with queries: the first ones, with an expired token, and many at the same time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.demo.bank import SandboxBank
from app.demo.broker import Broker, query_path
from app.demo.exchange import JsonResponse
from app.demo.expectations import expect, expect_that
from app.demo.login_steps import LinkedAccount
from app.demo.printing import Printer, Step
from app.demo.queries import accounts_query, money, transactions_query

_TRANSACTIONS = 5
_CONCURRENT_QUERIES = 20
_VERSION = "Broker-Token-Version"


class QuerySteps:
    """Queries the bank through a connection."""

    def __init__(self, printer: Printer, broker: Broker, bank: SandboxBank, linked: LinkedAccount) -> None:
        self._printer = printer
        self._broker = broker
        self._bank = bank
        self._linked = linked

    def run(self) -> None:
        """Run the steps."""
        account_id = self._query_accounts()
        self._query_transactions(account_id)
        self._open_callback_again()
        self._expire(refreshes_so_far=0)
        self._query_with_expired_token()
        self._query_concurrently()

    def _query_accounts(self) -> str:
        with self._printer.step("Ask for accounts and balances") as step:
            response = self._broker.query(step, self._linked.connection_id, accounts_query())
            accounts = _data(response, "user", "bankAccounts")
            expect_that(bool(accounts), expected="the accounts that the customer shared", actual=accounts)
            self._show_version(step, response, 1)
            rows = [
                (
                    account["name"],
                    account["accountType"],
                    money(account["currentBalance"]),
                    money(account["availableBalance"]),
                )
                for account in accounts
            ]
            step.table(("account", "kind", "balance", "available"), rows, right=("balance", "available"))
        return str(accounts[0]["id"])

    def _query_transactions(self, account_id: str) -> None:
        with self._printer.step("Ask for the newest page of transactions") as step:
            query = transactions_query(account_id, _TRANSACTIONS)
            response = self._broker.query(step, self._linked.connection_id, query)
            transactions = [edge["node"] for edge in _data(response, "node", "transactions", "edges")]
            expect(_TRANSACTIONS, len(transactions), what="the number of transactions")
            has_next_page = _data(response, "node", "transactions", "pageInfo", "hasNextPage")
            expect(True, has_next_page, what="hasNextPage")
            self._show_version(step, response, 1)
            rows = [
                (
                    transaction["date"],
                    transaction["description"],
                    money(transaction["amount"]),
                    money(transaction["runningBalance"]),
                )
                for transaction in transactions
            ]
            step.table(("date", "description", "amount", "balance"), rows, right=("amount", "balance"))

    def _open_callback_again(self) -> None:
        with self._printer.step("The browser opens the callback again, which changes nothing") as step:
            before = self._connection(step)
            step.sent(f"GET {self._linked.callback_url}")
            page = self._linked.customer.open(self._linked.callback_url)
            expect(200, page.status_code, what="status")
            step.received("200 OK, the same page: a state works only once; after that the page shows the outcome")
            expect(before, self._connection(step), what="the connection")
            expect(1, self._bank.codes_exchanged(step), what="the codes that the bank exchanged")
            step.note("the same connection, and still 1 code exchanged in total")

    def _expire(self, *, refreshes_so_far: int) -> None:
        with self._printer.step("The access token expires at the bank") as step:
            affected = self._bank.expire_tokens(step)
            expect_that(affected >= 1, expected="at least one expired token", actual=affected)
            expect(refreshes_so_far, sum(self._bank.refreshes(step).values()), what="the refreshes so far")
            step.note(f"tokens expired: {affected}; refreshes so far: {refreshes_so_far}; the broker does not know yet")

    def _query_with_expired_token(self) -> None:
        with self._printer.step("Query again: the broker refreshes the token and repeats the query") as step:
            response = self._broker.query(step, self._linked.connection_id, accounts_query())
            _data(response, "user", "bankAccounts")
            self._show_version(step, response, 2)
            expect({"ok": 1}, self._bank.refreshes(step), what="the refreshes that the bank counted")
            step.note("the bank counted exactly 1 refresh")

    def _query_concurrently(self) -> None:
        self._expire(refreshes_so_far=1)
        with self._printer.step(f"{_CONCURRENT_QUERIES} queries at the same time, with an expired token") as step:
            step.sent(f"{_CONCURRENT_QUERIES} x POST {self._broker.url}{query_path(self._linked.connection_id)}")
            with ThreadPoolExecutor(_CONCURRENT_QUERIES) as pool:
                queries = [
                    pool.submit(self._broker.query_without_showing, self._linked.connection_id, accounts_query())
                    for _ in range(_CONCURRENT_QUERIES)
                ]
                responses = [query.result() for query in queries]
            outcomes = Counter((response.status_code, response.headers.get(_VERSION)) for response in responses)
            expect({(200, "3"): _CONCURRENT_QUERIES}, dict(outcomes), what=f"status and {_VERSION} of the responses")
            for response in responses:
                _data(JsonResponse(response), "user", "bankAccounts")
            step.received(f"{_CONCURRENT_QUERIES} x 200 OK, all with {_VERSION}: 3")
            expect({"ok": 2}, self._bank.refreshes(step), what="the refreshes that the bank counted")
            step.note("the bank counted exactly 1 more: one query refreshed it, and the others waited")

    def _connection(self, step: Step) -> dict[str, Any]:
        connection = dict(self._broker.call(step, "GET", f"/v1/connections/{self._linked.connection_id}").member())
        # Updated now and then, whatever the callback does.
        connection.pop("last_used_at", None)
        return connection

    def _show_version(self, step: Step, response: JsonResponse, version: int) -> None:
        expect(str(version), response.response.headers.get(_VERSION), what=_VERSION)
        step.note(f"{_VERSION}: {version}")


def _data(response: JsonResponse, *path: str) -> Any:  # noqa: ANN401 - JSON
    errors = response.member().get("errors")
    expect(None, errors, what="errors in the response")
    return response.member("data", *path)
