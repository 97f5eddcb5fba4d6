"""The broker conforms to its own OpenAPI document, in cases that schemathesis generates, with all of its checks.

The cases are the same in every run. CASES=300 generates more of them.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, settings
from schemathesis.checks import CHECKS
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import interactions
from sandbox.client import SandboxClient
from tests.support.broker import Api, Broker
from tests.support.openapi import openapi_document

# Loaded here only, because it takes seconds: see `addopts` in pyproject.toml.
pytest_plugins = ["schemathesis.pytest.plugin"]

CASES = int(os.environ.get("CASES", "10"))
NOT_IN_SCHEMA = (
    "invalid_cursor",
    "webhook_url_not_allowed",
    "interaction_url_not_allowed",
    "return_url_not_allowed",
    "idempotency_key_reused",
    "confirmation_code_wrong",
)
SCHEMA: Any = schemathesis.openapi.from_dict(deepcopy(openapi_document()))


class _Key:
    """The API key of the authenticated cases."""

    value = ""

    def get(self, _case: Any, _context: Any) -> str:
        return self.value

    def set(self, case: Any, key: str, _context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {key}"


SCHEMA.auth(refresh_interval=None)(_Key)


@pytest.fixture(scope="module")
def counted() -> Iterator[dict[str, int]]:
    """The number of cases of each call."""
    counted: dict[str, int] = {}
    yield counted
    cases, checks = sum(counted.values()), len(CHECKS.get_all_names())
    sys.stdout.write(f"\nschemathesis: {cases} cases of {len(counted)} calls, {checks} checks\n")


@pytest.fixture(scope="module")
async def shared_resources(broker: Broker) -> AsyncIterator[tuple[Api, dict[str, str]]]:
    """A caller, and resources of its tenant that no case deletes."""
    async with await broker.sign_up() as api:
        yield api, await create_resources(api)


@pytest.fixture
async def resources(
    request: pytest.FixtureRequest,
    shared_resources: tuple[Api, dict[str, str]],
    api: Api,
    broker: Broker,
    bank: SandboxClient,
) -> dict[str, str]:
    """One resource for each path parameter."""
    if "[DELETE " in request.node.name:
        ids = await create_resources(api)
    else:
        api, ids = shared_resources
    _Key.value = api.api_key
    connection = await broker.rows.link(bank, tenant=api.tenant)
    body = {"interaction_url": f"{broker.settings.stitch_issuer}/approval?id=1", "interaction_id": "1"}
    interaction = (await api.post(f"/v1/connections/{connection.id}/interactions", json=body)).json()
    async with broker.database.transaction() as transaction:
        # Expired, so that no request waits for its end.
        expire = interactions.update().where(interactions.c.id == interaction["id"])
        await transaction.execute(expire.values(expires_at=seconds_from_now(-1)))
    return ids | {"connection_id": connection.id, "interaction_id": interaction["id"]}


async def create_resources(api: Api) -> dict[str, str]:
    """Create the resources besides connections, and return their ids by path parameter."""
    webhook = (await api.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"})).json()
    session = await api.start()
    await api.delete(f"/v1/sessions/{session['id']}")
    [delivery] = (await api.get(f"/v1/webhooks/{webhook['id']}/deliveries")).json()["items"]
    other = (await api.post("/v1/callers", json={"name": "other", "permissions": ["audit:read"]})).json()
    [key] = (await api.get(f"/v1/callers/{other['id']}/keys")).json()["items"]
    return {
        "session_id": session["id"],
        "webhook_id": webhook["id"],
        "delivery_id": delivery["id"],
        "caller_id": other["id"],
        "key_id": key["id"],
        "user_id": "user-1",
        "ticket": "unknown",
    }


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@SCHEMA.parametrize()
@settings(
    max_examples=CASES,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_call_conforms_to_the_document(
    case: Any, broker: Broker, resources: dict[str, str], counted: dict[str, int]
) -> None:
    label = case.operation.label
    counted[label] = counted.get(label, 0) + 1
    if counted[label] % 2:
        # Generated ids only lead to 404 responses.
        case.path_parameters.update({name: resources[name] for name in case.path_parameters if name in resources})
    # A longer URL is rejected by the server before the broker gets it.
    assume(len(quote(case.formatted_path)) < 60_000)
    response = case.call(base_url=broker.url, timeout=30, allow_redirects=False)
    case.validate_response(
        response, excluded_checks=[positive_data_acceptance] if is_beyond_the_schema(response) else []
    )


def is_beyond_the_schema(response: Any) -> bool:
    """Return whether the value was rejected for a reason that a schema cannot express."""
    kind = response.headers.get("content-type", [""])[0]
    if kind.startswith("text/html"):
        return True
    if kind != "application/problem+json" or response.status_code not in (400, 422):
        return False
    problem = response.json()
    locations = {fault["location"] for fault in problem.get("errors", [])}
    return problem["code"] in NOT_IN_SCHEMA or locations == {"body.metadata"}
