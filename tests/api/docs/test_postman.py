"""The collection for Postman and Bruno."""

import json
from pathlib import Path
from typing import Any

from app.api.docs.postman import collection_of
from tests.support.openapi import openapi_document

DOCUMENT = openapi_document()
COLLECTION = collection_of(DOCUMENT)


def requests() -> list[dict[str, Any]]:
    return [item["request"] for folder in COLLECTION["item"] for item in folder["item"]]


def test_the_committed_collection_is_current() -> None:
    assert json.loads(Path("docs/postman.json").read_text()) == COLLECTION, "run make client, and commit it"


def test_the_collection_has_every_call_of_a_service() -> None:
    described = {
        (method.upper(), "{{broker}}" + path.replace("{", "{{").replace("}", "}}"))
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        if operation.get("security")
    }
    assert {(request["method"], request["url"]["raw"]) for request in requests()} == described


def test_every_variable_is_declared() -> None:
    declared = {variable["key"] for variable in COLLECTION["variable"]}
    for request in requests():
        for part in request["url"]["path"]:
            assert "{" not in part or part.strip("{}") in declared


def test_the_collection_contains_no_key() -> None:
    values = {variable["key"]: variable["value"] for variable in COLLECTION["variable"]}
    assert values["api_key"] == ""
    assert COLLECTION["auth"]["bearer"][0]["value"] == "{{api_key}}"
