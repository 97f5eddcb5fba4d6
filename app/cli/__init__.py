"""The `broker` command."""

import sys

from app.cli.commands import command_tree
from app.errors import BrokerError


def main() -> None:
    """Run the command. A BrokerError is printed as one line, and the exit status is 1."""
    try:
        command_tree()()
    except BrokerError as error:
        sys.stderr.write(f"broker: {error.detail}\n")
        sys.exit(1)
