from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from pydantic import JsonValue

from sandbox.browser import submit
from sandbox.client import SandboxClient
from sandbox.settings import REDIRECT_URIS

ACCOUNTS = "{ user { id scopes bankAccounts { id name accountNumber accountType bankId branchCode currency } } }"
TRANSACTIONS = """
query TransactionsByBankAccount($accountId: ID!, $first: UInt, $after: Cursor) {
  node(id: $accountId) { ... on BankAccount { transactions(first: $first, after: $after) {
    pageInfo { hasNextPage endCursor }
    edges { node { id amount reference description date runningBalance } } } } } }
"""
PAY = """
mutation UserInitiatePayment($amount: MoneyInput!, $payerReference: String!, $externalReference: String) {
  userInitiatePayment(input: {
    amount: $amount, payerReference: $payerReference, externalReference: $externalReference
  }) {
    paymentInitiation { amount date id status { __typename } } } }
"""
REAUTHORIZATION = """
query($id: ID!) { node(id: $id) { ... on ReauthorizationRequired { id status userInteractionUrl } } }
"""


@pytest.mark.parametrize(
    ("shape", "status", "body"),
    [
        (
            "401",
            401,
            {
                "errors": [{"message": "UNAUTHENTICATED: Token is expired or malformed"}],
                "extensions": {"code": "UNAUTHENTICATED"},
            },
        ),
        (
            "200",
            200,
            {
                "errors": [{"message": "UNAUTHENTICATED: Token is expired or malformed"}],
                "extensions": {"code": "UNAUTHENTICATED"},
            },
        ),
        (
            "200-nested",
            200,
            {
                "errors": [
                    {
                        "message": "UNAUTHENTICATED: Token is expired or malformed",
                        "extensions": {"code": "UNAUTHENTICATED"},
                    }
                ]
            },
        ),
    ],
)
async def test_an_expired_token_is_rejected_in_each_shape(
    bank: SandboxClient, shape: str, status: int, body: object
) -> None:
    tokens = await bank.link()
    await bank.set_faults(unauthenticated_shape=shape)
    await bank.control("expire")
    response = await bank.query(tokens["access_token"], ACCOUNTS)
    assert (response.status_code, response.json()) == (status, body)


async def test_only_ticked_accounts_are_visible(bank: SandboxClient) -> None:
    user = (await bank.query((await bank.link())["access_token"], ACCOUNTS)).json()["data"]["user"]
    first, second, _ = user["bankAccounts"]
    token = (await bank.link(accounts=[first["id"]]))["access_token"]
    visible = (await bank.query(token, ACCOUNTS)).json()["data"]["user"]["bankAccounts"]
    assert visible == [first]
    hidden = await bank.query(token, TRANSACTIONS, accountId=second["id"])
    assert hidden.json()["data"] == {"node": None}


async def test_pagination_returns_each_transaction_once_and_in_order(bank: SandboxClient) -> None:
    token = (await bank.link())["access_token"]
    account = (await bank.query(token, ACCOUNTS)).json()["data"]["user"]["bankAccounts"][0]["id"]
    unpaged = (await bank.query(token, TRANSACTIONS, accountId=account)).json()["data"]["node"]["transactions"]
    collected, after = [], None
    while True:
        response = await bank.query(token, TRANSACTIONS, accountId=account, first=50, after=after)
        page = response.json()["data"]["node"]["transactions"]
        collected += page["edges"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert collected == unpaged["edges"]
    assert len(collected) > 100
    dates = [edge["node"]["date"] for edge in collected]
    assert dates == sorted(dates, reverse=True)
    assert collected[0]["node"]["amount"].keys() == {"quantity", "currency"}


async def test_a_missing_scope_makes_only_its_fields_null(bank: SandboxClient) -> None:
    token = (await bank.link("openid accounts"))["access_token"]
    response = (await bank.query(token, "{ user { bankAccounts { name currentBalance } } }")).json()
    assert response["data"]["user"]["bankAccounts"][0]["name"]
    assert response["data"]["user"]["bankAccounts"][0]["currentBalance"] is None
    assert response["errors"][0]["extensions"] == {"code": "FORBIDDEN", "missingScopes": ["balances"]}


async def test_operations_of_public_clients_work(bank: SandboxClient) -> None:
    token = (await bank.link())["access_token"]
    for text in (
        "query ListBankAccounts { user { __typename ... on User { id bankAccounts { name } } } }",
        "query GetAccountBalances { user { bankAccounts { currentBalance availableBalance } } }",
        "{ user { paymentAuthorization { bankAccount { id } status } } }",
        """{ user { bankAccounts { accountHolder { __typename
             ... on Individual { fullName email identifyingDocument { __typename
               ... on IdentityDocument { country number } ... on Passport { country number } } }
             ... on Business { name registrationNumber } }
             debitOrderPayments(first: 10) { pageInfo { hasNextPage endCursor }
               edges { node { id amount reference date } } } } } }""",
        "query ListBanks { banks { name country } }",
    ):
        response = (await bank.query(token, text)).json()
        assert "errors" not in response
        assert response["data"]


async def test_large_responses_are_compressed_if_the_client_accepts_it(bank: SandboxClient) -> None:
    token = (await bank.link())["access_token"]
    text = "{ user { bankAccounts { transactions { edges { node { id description } } } } } }"
    assert (await bank.query(token, text)).headers["content-encoding"] == "gzip"
    plain = await bank.http.post(
        "/graphql",
        json={"query": text},
        headers={"authorization": f"Bearer {token}", "accept-encoding": "identity"},
    )
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(("decision", "status"), [("allow", "complete"), ("decline", "failed")])
async def test_a_large_payment_needs_the_users_approval(bank: SandboxClient, decision: str, status: str) -> None:
    token = (await bank.link())["access_token"]
    payment: dict[str, JsonValue] = {"amount": {"quantity": "5000", "currency": "ZAR"}, "payerReference": "Rent"}
    (error,) = (await bank.query(token, PAY, **payment)).json()["errors"]
    extensions = error["extensions"]
    assert extensions["code"] == "USER_INTERACTION_REQUIRED"

    async def reauthorization_status() -> str:
        response = await bank.query(token, REAUTHORIZATION, id=extensions["id"])
        status: str = response.json()["data"]["node"]["status"]
        return status

    assert await reauthorization_status() == "pending"
    page = await open_approval_page(bank, extensions["userInteractionUrl"])
    response = await submit(bank.http, page, {"decision": decision})
    assert response.headers["location"] == REDIRECT_URIS[0]
    assert await reauthorization_status() == status
    repeated = (await bank.query(token, PAY, **payment)).json()
    assert ("errors" in repeated) == (decision == "decline")


async def open_approval_page(bank: SandboxClient, url: str) -> httpx.Response:
    query = dict(parse_qsl(urlsplit(url).query)) | {"redirect_uri": REDIRECT_URIS[0]}
    page = await bank.http.get(urlsplit(url).path, params=query)
    assert page.status_code == 200
    return page


async def test_a_simulated_reauthorization_stops_the_next_payment(bank: SandboxClient) -> None:
    token = (await bank.link())["access_token"]
    payment: dict[str, JsonValue] = {"amount": {"quantity": 1, "currency": "ZAR"}, "payerReference": "Coffee"}
    paid = (await bank.query(token, PAY, **payment)).json()["data"]["userInitiatePayment"]["paymentInitiation"]
    assert paid["amount"] == {"quantity": "1.00", "currency": "ZAR"}
    await bank.query(token, "mutation { testUserTriggerSimulatedReauthorization }")
    (error,) = (await bank.query(token, PAY, **payment)).json()["errors"]
    assert error["extensions"]["code"] == "USER_INTERACTION_REQUIRED"
    assert (await bank.ledger()).totals.payments == 1


async def test_a_malformed_request_gets_400_and_an_invalid_query_gets_no_data(bank: SandboxClient) -> None:
    token = (await bank.link())["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    assert (await bank.http.post("/graphql", content="no", headers=headers)).status_code == 400
    response = (await bank.query(token, "{ nothing }")).json()
    assert response.keys() == {"errors"}
    body = {"query": "query Accounts { user { id } }", "operationName": "Unknown"}
    unknown_operation = await bank.http.post("/graphql", json=body, headers=headers)
    assert (unknown_operation.status_code, unknown_operation.json()) == (
        400,
        {"errors": [{"message": 'Unknown operation named "Unknown".'}]},
    )
