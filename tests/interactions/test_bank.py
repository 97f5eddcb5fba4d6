"""The address of an interaction, and the bank's decision about it."""

import json

import pytest

from app.errors import UnprocessableRequest
from app.interactions.bank import interaction_address, parse_decision

ISSUER = "https://secure.stitch.example"
REDIRECT_URI = "https://broker.example/connect/interactions"
APPENDED = "redirect_uri=https%3A%2F%2Fbroker.example%2Fconnect%2Finteractions"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"{ISSUER}/approve?id=a%2Fb", f"{ISSUER}/approve?id=a%2Fb&{APPENDED}"),
        (f"{ISSUER}/approve", f"{ISSUER}/approve?{APPENDED}"),
        (f"{ISSUER}:443/approve", f"{ISSUER}:443/approve?{APPENDED}"),
    ],
)
def test_the_redirect_uri_is_appended_to_the_banks_url(url: str, address: str) -> None:
    assert interaction_address(url, issuer=ISSUER, redirect_uri=REDIRECT_URI) == address


@pytest.mark.parametrize(
    "url",
    [
        *("https://elsewhere.example/approve", "http://secure.stitch.example/approve", f"{ISSUER}.evil.example/"),
        *(f"{ISSUER}:8443/approve", f"{ISSUER}@evil.example/", "https://user@secure.stitch.example/"),
        *(f"{ISSUER}\\@evil.example/", f"{ISSUER}\t.evil.example/", "//secure.stitch.example/", "/approve", ""),
        *("javascript:alert(1)//secure.stitch.example", f"{ISSUER}:port/", "https://[secure.stitch.example/"),
        *(f"{ISSUER}/approve?redirect_uri=https://evil.example", f"{ISSUER}/approve#fragment", f"{ISSUER}/ü"),
        *(
            f"{ISSUER}/approve?Redirect_Uri=https://evil.example",
            f"{ISSUER}/approve?redirect_uri[]=https://evil.example",
        ),
        *(f"{ISSUER}/approve?id=1;redirect_uri=//evil.example", f"{ISSUER}/approve?redirect%5Furi=//evil.example"),
        *(f"{ISSUER}/approve#", f"{ISSUER}/approve?id=1#"),
    ],
)
def test_no_other_address_is_accepted(url: str) -> None:
    with pytest.raises(UnprocessableRequest) as rejected:
        interaction_address(url, issuer=ISSUER, redirect_uri=REDIRECT_URI)
    assert rejected.value.code == "interaction_url_not_allowed"


@pytest.mark.parametrize(
    ("node", "decision"),
    [
        ({"id": "re/1", "status": "complete"}, True),
        ({"id": "re/1", "status": "COMPLETE"}, True),
        ({"id": "re/1", "status": "failed"}, False),
        ({"id": "re/1", "status": "pending"}, None),
        ({"id": "re/1", "status": "something new"}, None),
        ({"id": "re/2", "status": "complete"}, None),
        ({"id": "re/1", "status": None}, None),
        ({"id": "re/1"}, None),
        (None, None),
    ],
)
def test_only_a_decision_about_this_interaction_counts(node: object, decision: bool | None) -> None:
    assert parse_decision(json.dumps({"data": {"node": node}}).encode(), "re/1") is decision


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b'{"data": null}', b'{"errors": [{"message": "x"}]}', b"\xff"])
def test_a_response_without_a_decision_decides_nothing(body: bytes) -> None:
    assert parse_decision(body, "re/1") is None
