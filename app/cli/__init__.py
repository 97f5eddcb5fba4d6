"""The `broker` command."""

import sys

import typer

from app.cli import audit, callers, doctor, encryption, keys, pkce, rows, server
from app.errors import BrokerError

command = typer.Typer(
    name="broker", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
server.add_to(command)
command.command()(doctor.doctor)
command.add_typer(callers.group, name="callers")
command.add_typer(keys.group, name="keys")
command.add_typer(encryption.group, name="encryption")
command.add_typer(audit.group, name="audit")
command.add_typer(rows.connections, name="connections")
command.add_typer(rows.sessions, name="sessions")
command.add_typer(pkce.group, name="pkce")


def main() -> None:
    """Run the command; an expected error is one line, and the exit status 1."""
    try:
        command()
    except BrokerError as error:
        sys.stderr.write(f"broker: {error.detail}\n")
        sys.exit(1)
