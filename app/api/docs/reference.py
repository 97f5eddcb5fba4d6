"""Prepares the calls of the OpenAPI document for `/docs`: grouped by task, with examples and errors."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from app.api.docs.markdown import as_html

_TASKS = {
    "Link an account": "A login of one user at their bank: a *session*. It ends with a *connection*.",
    "Use a connection": "One user's consent at the bank: query with it, and end it. The broker manages the tokens.",
    "Take a user to the bank": "What the bank requires of the user before it continues: an *interaction*.",
    "Be told of events": "Webhooks: events of sessions and connections, signed and in order.",
    "Manage callers": "The services that may call, their permissions and keys. `broker callers` does the same.",
    "Look into it": "The audit log, health checks and metrics.",
    "Pages for the browser": "Pages that the user's browser opens. Your service does not call them.",
}
_TIME = "2026-03-01T09:30:00Z"
_PLAIN = {"integer": 1, "boolean": True, "string": "…"}


@dataclass(frozen=True)
class Field:
    """A parameter in the path, the query or a header."""

    name: str
    place: str
    is_required: bool
    description: str
    default: str
    choices: list[str]


@dataclass(frozen=True)
class CallError:
    """One error that a call can return."""

    status: int
    code: str
    meaning: str


@dataclass(frozen=True)
class Call:
    """One call."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    permission: str | None
    fields: list[Field]
    body: str | None
    is_body_required: bool
    status: int
    phrase: str
    response: str | None
    errors: list[CallError]

    @property
    def curl(self) -> str:
        """The call as a curl command."""
        path = re.sub(r"\{(\w+)\}", lambda name: f"${name[1].upper()}", self.path)
        parts = [f'curl -s "$B{path}"'] if self.method == "GET" else [f'curl -s -X {self.method} "$B{path}"']
        if self.permission:
            parts.append('-H "Authorization: Bearer $KEY"')
        if self.body:
            parts.append(f"-H 'Content-Type: application/json' -d '{self.body}'")
        return " \\\n  ".join(parts)


@dataclass(frozen=True)
class Task:
    """The calls for one purpose."""

    id: str
    title: str
    introduction: str
    calls: list[Call]


def tasks_of(document: dict[str, Any]) -> list[Task]:
    """Return the calls of a document, grouped by task in the order in which a user needs them."""
    by_tag: dict[str, list[Call]] = {tag: [] for tag in _TASKS}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_call(document, path, method, operation))
    return [
        Task(tag.lower().replace(" ", "-"), tag, as_html(_TASKS.get(tag, "")), calls) for tag, calls in by_tag.items()
    ]


def _call(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> Call:
    body = operation.get("requestBody")
    status, described = next(
        (int(code), response) for code, response in operation["responses"].items() if int(code) < 400
    )
    content = described.get("content", {}).get("application/json")
    example = _content_example(document, content) if content else None
    security = operation.get("security")
    return Call(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=as_html(operation["description"]),
        permission=security[0]["API key"][0] if security else None,
        fields=[_field(document, parameter) for parameter in operation.get("parameters", [])],
        body=_text(_content_example(document, body["content"]["application/json"])) if body else None,
        is_body_required=bool(body and body.get("required")),
        status=status,
        phrase=HTTPStatus(status).phrase,
        response=None if example is None else _text(example),
        errors=sorted(_errors(operation), key=lambda error: error.status),
    )


def _field(document: dict[str, Any], parameter: dict[str, Any]) -> Field:
    schema = parameter["schema"]
    kinds = [_resolved(document, alternative) for alternative in (schema, *schema.get("anyOf", []))]
    default = schema.get("default")
    return Field(
        name=parameter["name"],
        place=parameter["in"],
        is_required=parameter.get("required", False),
        description=as_html(parameter.get("description") or schema.get("description") or "", inline=True),
        default="" if default is None else str(default),
        choices=[choice for kind in kinds for choice in kind.get("enum", [])],
    )


def _errors(operation: dict[str, Any]) -> Iterator[CallError]:
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            for code, example in content.get("examples", {}).items():
                errors = example["value"].get("errors")
                shown = errors[0]["extensions"]["code"] if errors else code
                yield CallError(int(status), shown, example["summary"])


def _content_example(document: dict[str, Any], content: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    if "example" in content:
        return content["example"]
    schema = content.get("schema", {})
    # An optional body is shown as if it were present.
    return _example(document, schema["anyOf"][0] if "anyOf" in schema else schema)


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return the example of a schema, or one composed of its members' examples."""
    schema = _resolved(document, schema)
    for given in ("examples", "enum"):
        if given in schema:
            return schema[given][0]
    # Members that may be null are shown as null, unless they have an example.
    if "default" in schema or "anyOf" in schema:
        return schema.get("default")
    if schema.get("type") == "object":
        return {name: _example(document, member) for name, member in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_example(document, schema["items"])]
    return _TIME if schema.get("format") == "date-time" else _PLAIN.get(schema.get("type", ""))


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    resolved: dict[str, Any] = document["components"]["schemas"][name] | schema if name else schema
    return resolved


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps(value, indent=2, ensure_ascii=False)
