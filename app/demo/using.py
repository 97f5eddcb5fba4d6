"""The steps of use: queries, a token that expires, and many that notice at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.demo.bank import SandboxBank
from app.demo.broker import Broker, query_path
from app.demo.exchange import Answer
from app.demo.expectations import expect, expect_that
from app.demo.linking import Linked
from app.demo.printing import Printer, Step
from app.demo.queries import accounts_query, money, transactions_query

_TRANSACTIONS = 5
_AT_ONCE = 20
_VERSION = "Broker-Token-Version"


class Using:
    """Queries the bank through a connection."""

    def __init__(self, printer: Printer, broker: Broker, bank: SandboxBank, linked: Linked) -> None:
        self._printer = printer
        self._broker = broker
        self._bank = bank
        self._linked = linked

    def run(self) -> None:
        """Do all the steps."""
        account_id = self._ask_for_accounts()
        self._ask_for_transactions(account_id)
        self._open_callback_again()
        self._expire(refreshes_so_far=0)
        self._query_with_expired_token()
        self._query_at_once()

    def _ask_for_accounts(self) -> str:
        with self._printer.step("Ask for accounts and balances") as step:
            answer = self._broker.query(step, self._linked.connection_id, accounts_query())
            accounts = _data(answer, "user", "bankAccounts")
            expect_that(bool(accounts), expected="the accounts that the customer shared", came=accounts)
            self._show_version(step, answer, 1)
            rows = [
                (one["name"], one["accountType"], money(one["currentBalance"]), money(one["availableBalance"]))
                for one in accounts
            ]
            step.table(("account", "kind", "balance", "available"), rows, right=("balance", "available"))
        return str(accounts[0]["id"])

    def _ask_for_transactions(self, account_id: str) -> None:
        with self._printer.step("Ask for the newest page of transactions") as step:
            query = transactions_query(account_id, _TRANSACTIONS)
            answer = self._broker.query(step, self._linked.connection_id, query)
            found = [edge["node"] for edge in _data(answer, "node", "transactions", "edges")]
            expect(_TRANSACTIONS, len(found), what="the number of transactions")
            more = _data(answer, "node", "transactions", "pageInfo", "hasNextPage")
            expect(True, more, what="hasNextPage")
            self._show_version(step, answer, 1)
            rows = [
                (one["date"], one["description"], money(one["amount"]), money(one["runningBalance"])) for one in found
            ]
            step.table(("date", "description", "amount", "balance"), rows, right=("amount", "balance"))

    def _open_callback_again(self) -> None:
        with self._printer.step("The browser opens the callback again, which must change nothing") as step:
            before = self._connection(step)
            step.sent(f"GET {self._linked.callback_url}")
            page = self._linked.customer.open(self._linked.callback_url)
            expect(200, page.status_code, what="status")
            step.came("200 OK, the same page: a state works once, after that it only shows the outcome")
            expect(before, self._connection(step), what="the connection")
            expect(1, self._bank.codes_exchanged(step), what="the codes that the bank exchanged")
            step.note("the same connection, and 1 code exchanged in all")

    def _expire(self, *, refreshes_so_far: int) -> None:
        with self._printer.step("The access token expires at the bank") as step:
            affected = self._bank.expire_tokens(step)
            expect_that(affected >= 1, expected="at least one token that expires", came=affected)
            expect(refreshes_so_far, sum(self._bank.refreshes(step).values()), what="the refreshes so far")
            step.note(f"tokens expired: {affected}; refreshes so far: {refreshes_so_far}; the broker does not know yet")

    def _query_with_expired_token(self) -> None:
        with self._printer.step("Query again: the broker refreshes the token, and repeats the query") as step:
            answer = self._broker.query(step, self._linked.connection_id, accounts_query())
            _data(answer, "user", "bankAccounts")
            self._show_version(step, answer, 2)
            expect({"ok": 1}, self._bank.refreshes(step), what="the refreshes that the bank counted")
            step.note("the bank counted exactly 1 refresh")

    def _query_at_once(self) -> None:
        self._expire(refreshes_so_far=1)
        with self._printer.step(f"{_AT_ONCE} queries at once, on a token that has expired") as step:
            step.sent(f"{_AT_ONCE} x POST {self._broker.url}{query_path(self._linked.connection_id)}")
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                queries = [
                    pool.submit(self._broker.query_unseen, self._linked.connection_id, accounts_query())
                    for _ in range(_AT_ONCE)
                ]
                answers = [query.result() for query in queries]
            outcomes = Counter((answer.status_code, answer.headers.get(_VERSION)) for answer in answers)
            expect({(200, "3"): _AT_ONCE}, dict(outcomes), what=f"status and {_VERSION} of the answers")
            for answer in answers:
                _data(Answer(answer), "user", "bankAccounts")
            step.came(f"{_AT_ONCE} x 200 OK, all with {_VERSION}: 3")
            expect({"ok": 2}, self._bank.refreshes(step), what="the refreshes that the bank counted")
            step.note("the bank counted exactly 1 more: one refreshed, the others waited for it")

    def _connection(self, step: Step) -> dict[str, Any]:
        connection = dict(self._broker.call(step, "GET", f"/v1/connections/{self._linked.connection_id}").member())
        # When it was last used is written now and then, and says nothing of the callback.
        connection.pop("last_used_at", None)
        return connection

    def _show_version(self, step: Step, answer: Answer, version: int) -> None:
        expect(str(version), answer.response.headers.get(_VERSION), what=_VERSION)
        step.note(f"{_VERSION}: {version}")


def _data(answer: Answer, *path: str) -> Any:  # noqa: ANN401 - JSON
    errors = answer.member().get("errors")
    expect(None, errors, what="errors in the answer")
    return answer.member("data", *path)
