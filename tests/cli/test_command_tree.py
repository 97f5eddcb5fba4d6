"""The table of commands: it says what the commands say themselves, and `broker` imports no more than a command needs."""

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from app.cli.commands import COMMANDS

# Prints which packages have been imported when the command is over.
PROGRAM = """
import json, sys
from app.cli import main
sys.argv = ["broker", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
DATABASE = {"alembic", "asyncpg", "sqlalchemy"}
SERVER = {"fastapi", "graphql", "jinja2", "markdown_it", "starlette", "uvicorn"}
CLIENT = {"aiohttp", "httpx", "joserfc"}
SLOW = DATABASE | SERVER | CLIENT | {"asyncio", "rich", "structlog"}


def imported_by(*arguments: str) -> set[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    environment["BROKER_DATABASE_URL"] = "postgresql://127.0.0.1:1/nowhere"
    environment["BROKER_ENCRYPTION_KEYS"] = "test:" + "A" * 43 + "="
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(finished.stdout.splitlines()[-1]))


@pytest.mark.parametrize("path", COMMANDS)
def test_the_table_says_what_the_command_says(path: str) -> None:
    module, _, function = COMMANDS[path].function.partition(":")
    described = inspect.getdoc(getattr(import_module(module), function))
    assert described is not None
    assert described.splitlines()[0] == COMMANDS[path].summary


@pytest.mark.parametrize("arguments", [("--help",), ("callers", "--help"), ("pkce", "new"), ("encryption", "generate")])
def test_a_command_without_database_imports_nothing_slow(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments) & SLOW == set()


@pytest.mark.parametrize("arguments", [("callers", "list"), ("connections", "list"), ("encryption", "status")])
def test_a_command_on_the_database_imports_neither_server_nor_client(arguments: tuple[str, ...]) -> None:
    imported = imported_by(*arguments)
    assert "asyncpg" in imported
    assert imported & (SERVER | CLIENT | {"alembic", "rich"}) == set()
