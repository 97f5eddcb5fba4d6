"""`python -m interop`: install what is needed, walk the journey in every variant, try the clients, print a verdict."""

import argparse
import asyncio
import base64
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path

from joserfc.jwk import RSAKey

from app.base.randomness import random_bytes
from app.demo.environment import clear_environment
from app.store.postgresql.database import Database
from chaos.postgresql import running_postgresql
from interop.audit import compare_audits
from interop.broker import Home, new_api_key, running_broker
from interop.clients import try_clients
from interop.journey import walk
from interop.node import NodeMissing, install_packages, require_node
from interop.ports import free_port
from interop.provider import running_other_side
from interop.report import Report
from interop.steps import Scene
from interop.variants import variants_of

_CLIENT_KEY = "interop-client"


def main() -> int:
    """Run, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m interop", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one way of client authentication for each provider")
    options = parser.parse_args()
    report = Report()
    try:
        report.say(f"Node {require_node()}")
        versions = install_packages()
    except NodeMissing as error:
        report.say(f"interop cannot run: {error}")
        return 1
    versions["gql"] = version("gql")
    report.say(", ".join(f"{name} {number}" for name, number in versions.items()))
    # Everything further happens on loopback, with settings of its own.
    clear_environment()
    asyncio.run(_run(report, quick=options.quick))
    return 0 if report.verdict() else 1


async def _run(report: Report, *, quick: bool) -> None:
    port = free_port()
    async with _home(f"http://127.0.0.1:{port}") as (home, jwk):
        for fapi in (False, True):
            variants = variants_of(fapi=fapi, quick=quick)
            async with running_other_side(variants, f"{home.public_url}/callback", jwk, home.directory) as other_side:
                for variant in variants:
                    environment = home.environment(variant, other_side)
                    with report.chapter(variant.title):
                        async with running_broker(home, environment, port) as broker:
                            scene = Scene(variant, home, home.settings(environment), other_side, broker)
                            await walk(report, scene)
                            if variant is variants[-1]:
                                await try_clients(report, scene)
                                if not fapi:
                                    await compare_audits(report, scene)


@asynccontextmanager
async def _home(public_url: str) -> AsyncIterator[tuple[Home, dict[str, object]]]:
    """Start a database with the broker's tables and a caller, and draw the client's key."""
    encryption_keys = f"interop:{base64.b64encode(random_bytes(32)).decode()}"
    client_key = RSAKey.generate_key(2048)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(_directory())
        postgresql = await stack.enter_async_context(running_postgresql(directory))
        database = Database(postgresql.url, pool_size=2)
        stack.push_async_callback(database.close)
        key_file = directory / "client.pem"
        key_file.write_bytes(client_key.as_pem(private=True))
        key_file.chmod(0o600)
        home = Home(
            directory=directory,
            database=database,
            database_url=postgresql.url,
            encryption_keys=encryption_keys,
            api_key=await new_api_key(database, encryption_keys),
            key_file=key_file,
            key_id=_CLIENT_KEY,
            public_url=public_url,
        )
        yield home, {**client_key.as_dict(private=False), "kid": _CLIENT_KEY, "use": "sig"}


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="broker-interop-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        # Root's PostgreSQL runs as `nobody`, who must be able to pass through.
        directory.chmod(0o711)
        yield directory


if __name__ == "__main__":
    sys.exit(main())
