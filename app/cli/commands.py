"""The tree of commands. A command's module is imported when the command runs, so that `--help` imports none of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from app.base.imports import import_large_module

GROUPS = {
    "callers": "The internal services that may call the broker.",
    "keys": "The API keys of callers.",
    "encryption": "The keys that encrypt the database.",
    "audit": "The audit log, and whether it is intact.",
    "connections": "Linked accounts.",
    "refreshes": "Refreshes of tokens.",
    "sessions": "Attempts to link an account.",
    "pkce": "PKCE values (RFC 7636), for debugging.",
}


class Command(NamedTuple):
    """Where a command is implemented, and the first line of its help."""

    function: str
    summary: str
    # For arguments that may begin with a hyphen.
    ignore_unknown_options: bool = False


COMMANDS = {
    "serve": Command("app.cli.serve:serve", "Serve until stopped, then finish the requests in progress."),
    "migrate": Command("app.cli.migrate:migrate", "Migrate the database to the current schema."),
    "openapi": Command("app.cli.openapi:openapi", "Print the OpenAPI document, always as JSON."),
    "demo": Command("app.cli.demo:demo", "Show the whole journey on this machine, with its own database and bank."),
    "doctor": Command("app.cli.doctor:doctor", "Check that the settings work, and say how to fix what does not."),
    "callers create": Command("app.cli.callers:create", "Create a caller, and print its first API key once."),
    "callers list": Command("app.cli.callers:list_callers", "List the callers."),
    "callers disable": Command("app.cli.callers:disable", "Disable a caller: all its keys are refused from now on."),
    "keys create": Command("app.cli.keys:create", "Create another key for a caller, and print it once."),
    "keys list": Command("app.cli.keys:list_keys", "List a caller's keys, without their secrets."),
    "keys revoke": Command("app.cli.keys:revoke", "Revoke a key: every replica refuses it from now on."),
    "encryption generate": Command("app.cli.generate_key:generate", "Generate a key for BROKER_ENCRYPTION_KEYS."),
    "encryption status": Command("app.cli.encryption:status", "Count the values that each key has encrypted."),
    "encryption rewrap": Command("app.cli.encryption:rewrap", "Encrypt all values again, with the first key."),
    "audit verify": Command("app.cli.audit:verify_chains", "Verify the chain of hashes over the audit log."),
    "connections list": Command("app.cli.connections:list_newest", "List connections, newest first."),
    "connections show": Command("app.cli.connections:show_connection", "Show a connection, without its tokens."),
    "connections revoke": Command("app.cli.connections:revoke", "Revoke a connection."),
    "connections retry": Command(
        "app.cli.retry_connections:retry", "Activate connections again that the bank refused in the last 7 days."
    ),
    "refreshes resume": Command(
        "app.cli.refreshes:resume", "Refresh all connections again after a storm of invalid_grant."
    ),
    "sessions show": Command("app.cli.sessions:show_session", "Show a session, without its secrets."),
    "pkce new": Command("app.cli.pkce:new", "Generate a verifier and its challenge."),
    "pkce check": Command(
        "app.cli.pkce:check", "Check that a challenge belongs to a verifier.", ignore_unknown_options=True
    ),
}


def command_tree() -> TyperGroup:
    """Return the `broker` command."""
    groups = [_group(name, summary, _commands_of(name)) for name, summary in GROUPS.items()]
    return _group("broker", "The `broker` command.", [*_commands_of(""), *groups])


def _commands_of(group: str) -> "list[_LazyCommand]":
    """Return the commands of a group, or those without one."""
    paths = ((path, *path.rpartition(" ")) for path in COMMANDS)
    return [_LazyCommand(name, COMMANDS[path]) for path, parent, _, name in paths if parent == group]


def _group(name: str, summary: str, commands: Sequence[TyperCommand | TyperGroup]) -> TyperGroup:
    # Without Rich, whose import takes longer than the rest of `--help`.
    return TyperGroup(name=name, help=summary, commands=commands, no_args_is_help=True, rich_markup_mode=None)


class _LazyCommand(TyperCommand):
    """Stands in for a command until its arguments are parsed."""

    def __init__(self, name: str, command: Command) -> None:
        super().__init__(name, short_help=command.summary, rich_markup_mode=None)
        self._command = command

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as Click has it
        """Import the command and have it parse its arguments. The group then runs the context's command."""
        return self._load().make_context(*arguments, **options)

    def _load(self) -> Any:  # noqa: ANN401 - Typer names no public type
        module, _, function = self._command.function.partition(":")
        application = typer.Typer(add_completion=False, rich_markup_mode=None)
        settings = {"ignore_unknown_options": self._command.ignore_unknown_options}
        application.command(self.name, context_settings=settings)(getattr(import_large_module(module), function))
        return typer.main.get_command(application)
