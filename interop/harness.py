"""What all variants of a run share: the database, the keys and the API key."""

import base64
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from joserfc.jwk import RSAKey
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.base.randomness import random_bytes
from app.callers.permissions import Permission
from app.callers.registry import CallerRegistry
from app.settings import Settings
from app.store.connections import TokenSet, get_connection_with_tokens
from app.store.postgresql.database import Database
from chaos.postgresql import running_postgresql
from interop.third_party_servers import ThirdPartyServers
from interop.variants import CLIENT_SECRET, Variant

_CLIENT_KEY_ID = "interop-client"


@dataclass(frozen=True, slots=True)
class Harness:
    """The shared resources. `key_file` and `client_jwk` hold the broker's private and public key as an OAuth client."""

    directory: Path
    database: Database
    database_url: SecretStr
    encryption_keys: str
    api_key: SecretStr
    key_file: Path
    client_jwk: dict[str, object]
    public_url: str

    def environment(self, variant: Variant, servers: ThirdPartyServers) -> dict[str, str]:
        """Return the broker's environment for a variant. PAR is not set: the broker discovers it."""
        settings = {
            "DATABASE_URL": self.database_url.get_secret_value(),
            "DATA_DIR": str(self.directory / variant.client_id),
            "PUBLIC_URL": self.public_url,
            "ENCRYPTION_KEYS": self.encryption_keys,
            "STITCH_ISSUER": servers.issuer,
            "STITCH_GRAPHQL_URL": servers.graphql_url,
            "STITCH_CLIENT_ID": variant.client_id,
            "STITCH_CLIENT_AUTH": variant.method,
            "STITCH_PROMPT": "consent",
            "STITCH_DPOP": "on" if variant.fapi else "off",
        }
        if variant.method == "private_key_jwt":
            settings |= {"STITCH_PRIVATE_KEY_FILE": str(self.key_file), "STITCH_PRIVATE_KEY_ID": _CLIENT_KEY_ID}
        else:
            settings["STITCH_CLIENT_SECRET"] = CLIENT_SECRET
        return {f"BROKER_{name}": value for name, value in settings.items()}

    def settings(self, environment: Mapping[str, str]) -> Settings:
        """Return the settings that a broker with this environment has."""
        return Settings(**{name.removeprefix("BROKER_").lower(): value for name, value in environment.items()})

    async def get_tokens(self, connection_id: str) -> TokenSet:
        """Return the tokens of a connection, decrypted, from the broker's database."""
        async with self.database.transaction() as transaction:
            stored = await get_connection_with_tokens(
                transaction, KeyRing.parse(self.encryption_keys), "default", connection_id
            )
        assert stored is not None
        assert stored.tokens is not None
        return stored.tokens


@asynccontextmanager
async def open_harness(public_url: str) -> AsyncIterator[Harness]:
    """Start a database with the broker's tables and one caller, and generate the client's key."""
    encryption_keys = f"interop:{base64.b64encode(random_bytes(32)).decode()}"
    client_key = RSAKey.generate_key(2048)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(_temporary_directory())
        postgresql = await stack.enter_async_context(running_postgresql(directory))
        database = Database(postgresql.url, pool_size=2)
        stack.push_async_callback(database.close)
        key_file = directory / "client.pem"
        key_file.write_bytes(client_key.as_pem(private=True))
        key_file.chmod(0o600)
        yield Harness(
            directory=directory,
            database=database,
            database_url=postgresql.url,
            encryption_keys=encryption_keys,
            api_key=await _create_api_key(database, encryption_keys),
            key_file=key_file,
            client_jwk={**client_key.as_dict(private=False), "kid": _CLIENT_KEY_ID, "use": "sig"},
            public_url=public_url,
        )


async def _create_api_key(database: Database, encryption_keys: str) -> SecretStr:
    _, api_key = await CallerRegistry(database, KeyRing.parse(encryption_keys)).create(
        tenant="default", name="interop", permissions=[permission.value for permission in Permission], actor="interop"
    )
    return api_key


@contextmanager
def _temporary_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="broker-interop-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        # If run as root, PostgreSQL runs as the user `nobody`, who must be able to traverse the directory.
        directory.chmod(0o711)
        yield directory
