"""The table of commands repeats what the commands say themselves, and no command imports more than it needs."""

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from app.cli.commands import COMMANDS

COMMANDS_IN_TURN = """
import sys
from app.cli import main
for command in sys.argv[1:]:
    sys.argv = ["broker", *command.split()]
    try:
        main()
    except SystemExit:
        pass
"""
SERVER = """
from app.cli import serve
serve.import_large_module("app.main").create_api()
"""
PRINT_MODULES = """
import json, sys
print(json.dumps(list(sys.modules)))
"""
DATABASE_PACKAGES = {"alembic", "asyncpg", "sqlalchemy"}
SERVER_PACKAGES = {"fastapi", "graphql", "jinja2", "markdown_it", "starlette", "uvicorn"}
CLIENT_PACKAGES = {"aiohttp", "httpx", "joserfc"}
SLOW_PACKAGES = DATABASE_PACKAGES | SERVER_PACKAGES | CLIENT_PACKAGES | {"asyncio", "rich", "structlog"}


def modules_after(program: str, *arguments: str) -> set[str]:
    """Run a program in an interpreter of its own, and return the modules that it has imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
    environment["BROKER_DATABASE_URL"] = "postgresql://127.0.0.1:1/nowhere"
    environment["BROKER_ENCRYPTION_KEYS"] = "test:" + "A" * 43 + "="
    finished = subprocess.run(
        [sys.executable, "-c", program + PRINT_MODULES, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(finished.stdout.splitlines()[-1]))


@pytest.mark.parametrize("path", COMMANDS)
def test_the_table_says_what_the_command_says(path: str) -> None:
    module, _, function = COMMANDS[path].function.partition(":")
    described = inspect.getdoc(getattr(import_module(module), function))
    assert described is not None
    assert described.splitlines()[0] == COMMANDS[path].summary


def test_commands_without_database_import_nothing_slow() -> None:
    modules = modules_after(COMMANDS_IN_TURN, "--help", "callers --help", "pkce new", "encryption generate")
    assert modules.isdisjoint(SLOW_PACKAGES)


def test_commands_on_the_database_import_neither_server_nor_client() -> None:
    modules = modules_after(COMMANDS_IN_TURN, "callers list", "connections list", "encryption status")
    assert "asyncpg" in modules
    assert modules.isdisjoint(SERVER_PACKAGES | CLIENT_PACKAGES | {"alembic", "rich", "sqlalchemy.orm"})


def test_a_server_imports_only_what_it_needs_before_the_first_request() -> None:
    modules = modules_after(SERVER)
    assert "fastapi" in modules
    assert modules.isdisjoint({"alembic", "graphql", "jinja2", "joserfc.jwk", "markdown_it", "sqlalchemy.orm"})
