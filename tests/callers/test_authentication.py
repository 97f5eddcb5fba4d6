import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from app.callers.api_keys import new_api_key
from app.callers.authentication import Caller
from app.callers.permissions import Permission
from app.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, UnauthorizedCaller
from app.store import audit
from app.store.postgresql.database_time import seconds_from_now
from app.store.tables import api_keys
from tests.conftest import ReplicaFactory
from tests.support.eventually import eventually
from tests.support.replica import Replica
from tests.support.rows import TENANT, Rows


async def make(replica: Replica, name: str = "shop", tenant: str = TENANT) -> SecretStr:
    _, secret = await replica.callers.registry.create(
        tenant=tenant, name=name, permissions=["sessions:write", "sessions:read"], actor="operator"
    )
    return secret


async def authenticate(replica: Replica, secret: SecretStr, scheme: str = "Bearer") -> Caller:
    return await replica.callers.authenticator.authenticate(f"{scheme} {secret.get_secret_value()}")


async def is_rejected(replica: Replica, secret: SecretStr) -> bool:
    try:
        await authenticate(replica, secret)
    except UnauthorizedCaller:
        return True
    return False


async def test_a_key_authenticates_its_caller(replica: Replica) -> None:
    secret = await make(replica)
    for scheme in ("Bearer", "bearer", "BEARER"):
        caller = await authenticate(replica, secret, scheme)
        assert (caller.tenant, caller.name, caller.expires_at) == (TENANT, "shop", None)
    caller.require(Permission.SESSIONS_WRITE)
    with pytest.raises(PermissionDenied, match="connections:read"):
        caller.require(Permission.CONNECTIONS_READ)


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic abc", "Token x", "Bearer brk_x", "Bearer é"])
async def test_an_invalid_header_is_rejected(replica: Replica, authorization: str) -> None:
    with pytest.raises(UnauthorizedCaller):
        await replica.callers.authenticator.authenticate(authorization)


async def test_an_unknown_key_in_the_right_format_is_rejected(replica: Replica) -> None:
    with pytest.raises(UnauthorizedCaller):
        await authenticate(replica, new_api_key().secret)


async def test_the_prefix_of_a_key_is_not_enough(replica: Replica, rows: Rows) -> None:
    await make(replica)
    (prefix,) = await rows.column(api_keys, "prefix")
    guess = new_api_key()
    async with replica.core.database.transaction() as transaction:
        await transaction.execute(api_keys.update().values(prefix=guess.prefix))
    with pytest.raises(UnauthorizedCaller):
        await authenticate(replica, guess.secret)
    assert prefix != guess.prefix


async def test_no_key_is_stored(replica: Replica, rows: Rows) -> None:
    secret = (await make(replica)).get_secret_value()
    for column in api_keys.c:
        (value,) = await rows.column(api_keys, column.name)
        assert secret not in str(value)
    (keyed_hash,) = await rows.column(api_keys, "keyed_hash")
    assert len(keyed_hash) == 64


async def test_a_cached_key_expires_too(replicas: ReplicaFactory) -> None:
    replica = await replicas(cache_ttl=300)
    await make(replica)
    record, secret = await replica.callers.registry.create_key(
        "shop", expires_at=datetime.now(UTC) + timedelta(seconds=100), actor="operator"
    )
    await authenticate(replica, secret)
    async with replica.core.database.transaction() as transaction:
        past = api_keys.update().where(api_keys.c.id == record.id).values(expires_at=seconds_from_now(-1))
        await transaction.execute(past)
    await authenticate(replica, secret)
    replica.clock.advance(101)
    assert await is_rejected(replica, secret)


async def test_a_revoked_key_is_rejected_on_every_replica_and_other_keys_are_not(replicas: ReplicaFactory) -> None:
    first, second = await replicas(cache_ttl=300), await replicas(cache_ttl=300)
    kept = await make(first)
    record, secret = await first.callers.registry.create_key("shop", actor="operator")
    await authenticate(second, kept)
    await authenticate(second, secret)
    await first.callers.registry.revoke_key("shop", record.id, actor="operator")
    await eventually(lambda: is_rejected(second, secret))
    await authenticate(second, kept)


async def test_a_disabled_caller_is_rejected_on_every_replica(replicas: ReplicaFactory) -> None:
    first, second = await replicas(cache_ttl=300), await replicas(cache_ttl=300)
    secret = await make(first)
    await authenticate(second, secret)
    disabled = await first.callers.registry.disable("shop", actor="operator")
    assert disabled.disabled_at is not None
    await eventually(lambda: is_rejected(second, secret))
    with pytest.raises(NotFound):
        await first.callers.registry.disable("nobody", actor="operator")


async def test_without_notifications_a_key_is_cached_no_longer_than_the_cache_ttl(replicas: ReplicaFactory) -> None:
    replica, other = await replicas(listens=False, cache_ttl=5), await replicas()
    secret = await make(replica)
    await authenticate(replica, secret)
    await other.callers.registry.disable("shop", actor="operator")
    await authenticate(replica, secret)
    replica.clock.advance(6)
    assert await is_rejected(replica, secret)


async def test_concurrent_requests_with_one_key_look_it_up_once(replica: Replica) -> None:
    secret = await make(replica)
    callers = await asyncio.gather(*(authenticate(replica, secret) for _ in range(50)))
    assert all(caller is callers[0] for caller in callers)


async def test_spaces_around_a_key_do_not_matter(replica: Replica) -> None:
    secret = await make(replica)
    for count in range(1, 5):
        await authenticate(replica, secret, "Bearer" + " " * count)
        await replica.callers.authenticator.authenticate(f"Bearer {secret.get_secret_value()}" + " \t" * count)
    assert replica.callers.authenticator.cached == 1


async def test_the_last_use_of_a_key_is_recorded(replica: Replica) -> None:
    await authenticate(replica, await make(replica))
    await replica.maintenance.housekeeping.flush_last_used()
    (key,) = (await replica.callers.registry.list_keys("shop")).items
    assert key.last_used_at is not None


async def test_a_caller_needs_known_permissions_and_a_unique_name(replica: Replica) -> None:
    await make(replica)
    with pytest.raises(Conflict) as duplicate:
        await make(replica)
    assert duplicate.value.code == "caller_exists"
    await make(replica, tenant="elsewhere")
    with pytest.raises(InvalidRequest, match="'everything'"):
        await replica.callers.registry.create(tenant=TENANT, name="x", permissions=["everything"], actor="operator")
    (caller,) = (await replica.callers.registry.list_callers(tenant=TENANT)).items
    assert (caller.name, caller.permissions) == ("shop", ["sessions:read", "sessions:write"])
    assert len((await replica.callers.registry.list_callers()).items) == 2
    assert await replica.callers.registry.find(caller.id) == caller
    assert await replica.callers.registry.find("shop", tenant=TENANT) == caller


async def test_a_key_belongs_to_one_caller_and_tenant(replica: Replica) -> None:
    await make(replica)
    await make(replica, "other")
    (key,) = (await replica.callers.registry.list_keys("shop")).items
    for reference, key_id, tenant in (("other", key.id, TENANT), ("shop", "key_x", TENANT), ("shop", key.id, "else")):
        with pytest.raises(NotFound):
            await replica.callers.registry.revoke_key(reference, key_id, tenant=tenant, actor="operator")
    with pytest.raises(NotFound):
        await replica.callers.registry.create_key("nobody", actor="operator")
    with pytest.raises(NotFound):
        await replica.callers.registry.list_keys("shop", tenant="elsewhere")
    with pytest.raises(NotFound):
        await replica.callers.registry.find("shop", tenant="elsewhere")


async def test_every_change_is_audited_without_the_key(replica: Replica) -> None:
    secrets = [await make(replica)]
    record, secret = await replica.callers.registry.create_key("shop", actor="cal_admin")
    await replica.callers.registry.revoke_key("shop", record.id, actor="cal_admin")
    await replica.callers.registry.disable("shop", actor="cal_admin")
    async with replica.core.database.transaction() as transaction:
        page = await audit.list_events(transaction, TENANT, connection_id=None, limit=9, cursor=None)
    assert [(event.actor, event.action) for event in page.items] == [
        ("operator", "caller.created"),
        ("operator", "key.created"),
        ("cal_admin", "key.created"),
        ("cal_admin", "key.revoked"),
        ("cal_admin", "caller.disabled"),
    ]
    assert not any(created.get_secret_value() in str(page.items) for created in (*secrets, secret))
