"""Builds a Postman collection (format 2.1) of the calls, which Bruno and Insomnia import too.

https://schema.getpostman.com/json/collection/v2.1.0/collection.json
"""

import json
import re
from typing import Any

from app.api.docs.reference import Call, Field, tasks_of

_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_DESCRIPTION = (
    "Set the variables `broker` and `api_key` (`make run` prints both). Ids in a response, such as "
    "`session_id`, are kept in variables for the next requests."
)
# Keeps the id of what was created or read, for later requests.
_REMEMBER = """\
const answer = pm.response.code < 300 && pm.response.text() ? pm.response.json() : {};
if (answer.id) pm.collectionVariables.set("%s", answer.id);
if (answer.connection_id) pm.collectionVariables.set("connection_id", answer.connection_id);"""


def collection_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return a collection of all calls that a service makes, grouped by task."""
    folders = []
    ids: set[str] = set()
    for task in tasks_of(document):
        calls = [call for call in task.calls if call.permission]
        ids |= {field.name for call in calls for field in call.fields if field.place == "path"}
        if calls:
            folders.append({"name": task.title, "item": [_request(call) for call in calls]})
    variables = {"broker": "http://127.0.0.1:8000", "api_key": "", **dict.fromkeys(sorted(ids), "")}
    return {
        "info": {"name": document["info"]["title"], "description": _DESCRIPTION, "schema": _SCHEMA},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{api_key}}", "type": "string"}]},
        "variable": [{"key": name, "value": value} for name, value in variables.items()],
        "item": folders,
    }


def _request(call: Call) -> dict[str, Any]:
    path = re.sub(r"\{(\w+)\}", r"{{\1}}", call.path)
    headers = [_parameter(field) for field in call.fields if field.place == "header"]
    request: dict[str, Any] = {
        "method": call.method,
        "url": {
            "raw": f"{{{{broker}}}}{path}",
            "host": ["{{broker}}"],
            "path": path.strip("/").split("/"),
            "query": [_parameter(field) for field in call.fields if field.place == "query"],
        },
        "header": headers,
        "description": f"Permission `{call.permission}`.",
    }
    if call.body:
        request["header"] = [{"key": "Content-Type", "value": "application/json"}, *headers]
        request["body"] = {"mode": "raw", "raw": call.body, "options": {"raw": {"language": "json"}}}
    item: dict[str, Any] = {"name": call.summary, "request": request}
    resource = re.match(r"/v1/(session|connection|webhook|caller)s(/\{\w+\})?$", call.path)
    if resource and call.response and "items" not in json.loads(call.response):
        script = (_REMEMBER % f"{resource[1]}_id").splitlines()
        item["event"] = [{"listen": "test", "script": {"type": "text/javascript", "exec": script}}]
    return item


def _parameter(field: Field) -> dict[str, Any]:
    # Optional: disabled until the user enables it.
    return {"key": field.name, "value": field.default, "disabled": True}
