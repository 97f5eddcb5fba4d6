from pydantic import SecretStr

from app.base.bank_client import BankClient
from app.base.encryption import KeyRing
from app.store.connections import TokenSet
from app.store.enums import RefreshCause, RefreshOutcome
from app.store.postgresql.database import Database
from app.store.refreshes import (
    Claim,
    NewTokens,
    SaveResult,
    claim_refresh,
    fail_refresh,
    record_invalid_grant,
    save_refresh,
)
from tests.support.eventually import eventually
from tests.support.rows import TENANT

NEW_TOKENS = NewTokens(TokenSet(SecretStr("new access"), SecretStr("new refresh")), 900, ["openid"])


class RefreshProtocol:
    """Claims, saves and failures of one connection, each in a transaction of its own."""

    def __init__(self, database: Database, key_ring: KeyRing, client: BankClient, connection_id: str) -> None:
        self.client = client
        self.database = database
        self.key_ring = key_ring
        self.connection_id = connection_id

    async def claim(
        self, version: int = 1, *, lease: float = 100, cause: RefreshCause = RefreshCause.EXPIRED
    ) -> Claim | None:
        async with self.database.transaction() as transaction:
            return await claim_refresh(
                transaction,
                self.key_ring,
                client=self.client,
                tenant=TENANT,
                connection_id=self.connection_id,
                version=version,
                cause=cause,
                replica="rep_1",
                lease=lease,
            )

    async def claim_when_free(
        self, version: int = 1, *, lease: float = 100, cause: RefreshCause = RefreshCause.EXPIRED
    ) -> Claim:
        """Claim, and repeat it during the grace period after the start of the server."""

        async def claim() -> Claim | None:
            return await self.claim(version, lease=lease, cause=cause)

        claimed = await eventually(claim)
        assert claimed is not None
        return claimed

    async def save(self, claim: Claim, new: NewTokens = NEW_TOKENS, *, age: float = 0) -> SaveResult:
        async with self.database.transaction() as transaction:
            return await save_refresh(transaction, self.key_ring, claim, new, age=age)

    async def fail(self, claim: Claim, outcome: RefreshOutcome, *, retry_in: float = 0) -> None:
        async with self.database.transaction() as transaction:
            await fail_refresh(transaction, claim, outcome, retry_in=retry_in)

    async def record_invalid_grant(self, claim: Claim) -> RefreshOutcome:
        async with self.database.transaction() as transaction:
            return await record_invalid_grant(transaction, claim)
