"""The step that creates a caller with the command line, or reuses that of the last run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.callers.permissions import Permission
from app.demo.expectations import Unexpected
from app.demo.keys import KeyFile, Keys
from app.demo.printing import Printer, Step
from app.demo.processes import run_broker

JOURNEY_PERMISSIONS = (
    Permission.SESSIONS_READ,
    Permission.SESSIONS_WRITE,
    Permission.CONNECTIONS_READ,
    Permission.CONNECTIONS_WRITE,
    Permission.GRAPHQL_QUERY,
    Permission.AUDIT_READ,
)


@dataclass(frozen=True)
class DemoCaller:
    """An internal service. `id` is None unless it was created in this run."""

    name: str
    id: str | None
    api_key: str = field(repr=False)


def create_caller(
    printer: Printer, environment: Mapping[str, str], name: str, permissions: Sequence[Permission]
) -> DemoCaller:
    """Create a caller and return it with its key."""
    with printer.step("Create a caller: an internal service with an API key") as step:
        options = [part for permission in permissions for part in ("--permission", permission.value)]
        created = _create(printer, step, environment, "callers", "create", name, *options)
    return DemoCaller(name, created["id"], created["api_key"])


def reuse_or_create_caller(
    printer: Printer, environment: Mapping[str, str], name: str, keys: Keys, key_file: KeyFile
) -> DemoCaller:
    """Return the caller of the last run, or create one with every permission and keep its key."""
    if keys.api_key is not None:
        with printer.step("Use the API key of the last run") as step:
            step.received(f"the key of the caller {name}, from {key_file.path}")
        return DemoCaller(name, None, printer.redactor.add_secret(keys.api_key))
    callers = json.loads(run_broker("callers", "list", "--json", environment=environment))
    if any(caller["name"] == name for caller in callers):
        # The last run was interrupted before it could keep the key.
        with printer.step("Create another API key for the caller of the last run") as step:
            created = _create(printer, step, environment, "keys", "create", name)
        caller = DemoCaller(name, None, created["api_key"])
    else:
        caller = create_caller(printer, environment, name, tuple(Permission))
    key_file.save(replace(keys, api_key=caller.api_key))
    return caller


def _create(printer: Printer, step: Step, environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    step.sent(f"broker {' '.join(arguments)} --json")
    printed = run_broker(*arguments, "--json", environment=environment)
    try:
        created: dict[str, Any] = json.loads(printed)
        printer.redactor.add_secret(created["api_key"])
    except (ValueError, LookupError, TypeError):
        raise Unexpected("a JSON object with an api_key", f"{len(printed)} characters of something else") from None
    step.received(json.dumps(created))
    return created
