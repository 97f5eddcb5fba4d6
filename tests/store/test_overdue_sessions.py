from app.store.enums import SessionStatus
from app.store.overdue_sessions import find_expired_logins, lock_expired_logins, lock_overdue_grants
from app.store.postgresql.database import Database
from app.store.postgresql.database_time import seconds_from_now
from app.store.sessions import lock_session
from tests.store.test_sessions import add
from tests.support.rows import CLIENT, Rows


async def grants(database: Database, limit: int = 100) -> dict[str, SessionStatus]:
    async with database.transaction() as transaction:
        return {
            session.id: session.status for session in await lock_overdue_grants(transaction, client=CLIENT, limit=limit)
        }


async def lapsed(database: Database, of_each_tenant: int = 100) -> list[str]:
    async with database.transaction() as transaction:
        return await find_expired_logins(transaction, of_each_tenant=of_each_tenant)


async def test_the_oldest_expired_logins_of_each_tenant_are_found(database: Database, rows: Rows) -> None:
    of_many = [(await add(database, seconds_to_live=-number)).id for number in range(20, 10, -1)]
    of_others = [(await add(database, seconds_to_live=-1, tenant=tenant)).id for tenant in ("a", "z")]
    await add(database)
    ended = await add(database, seconds_to_live=-30)
    await rows.change_session(ended.id, status=SessionStatus.CANCELLED, ended_at=seconds_from_now(-1))
    assert await lapsed(database, of_each_tenant=2) == [of_others[0], *of_many[:2], of_others[1]]


async def test_sessions_with_a_valid_lease_are_not_overdue(database: Database, rows: Rows) -> None:
    await add(database)
    await add(database, seconds_to_live=-1)
    interrupted, attended, unconfirmed, awaited = [await add(database) for _ in range(4)]
    await rows.change_session(interrupted.id, status=SessionStatus.EXCHANGING, lease_until=seconds_from_now(-1))
    await rows.change_session(attended.id, status=SessionStatus.EXCHANGING, lease_until=seconds_from_now(100))
    await rows.change_session(
        unconfirmed.id, status=SessionStatus.AWAITING_CONFIRMATION, expires_at=seconds_from_now(-1)
    )
    await rows.change_session(awaited.id, status=SessionStatus.AWAITING_CONFIRMATION)
    assert await grants(database) == {
        interrupted.id: SessionStatus.EXCHANGING,
        unconfirmed.id: SessionStatus.AWAITING_CONFIRMATION,
    }
    assert list(await grants(database, limit=1)) == [unconfirmed.id]


async def test_sessions_that_are_locked_or_ended_by_another_replica_are_skipped(database: Database, rows: Rows) -> None:
    login, grant = await add(database, seconds_to_live=-1), await add(database)
    await rows.change_session(grant.id, status=SessionStatus.EXCHANGING)
    found = await lapsed(database)
    assert (found, list(await grants(database))) == ([login.id], [grant.id])
    async with database.transaction() as other, database.transaction() as transaction:
        for session in (login, grant):
            assert await lock_session(other, session.id) is not None
        assert await lock_expired_logins(transaction, found) == []
        assert await grants(database) == {}
    async with database.transaction() as transaction:
        assert [session.id for session in await lock_expired_logins(transaction, found)] == [login.id]
    await rows.change_session(login.id, status=SessionStatus.EXCHANGING)
    async with database.transaction() as transaction:
        assert await lock_expired_logins(transaction, found) == []
