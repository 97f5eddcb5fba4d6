from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from app.maintenance.gauges import Gauges
from tests.conftest import ReplicaFactory
from tests.support.replica import Replica
from tests.support.rows import TENANT, Rows


def measured(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture
def vitals(replica: Replica) -> Gauges:
    return replica.maintenance.gauges


async def test_it_says_how_full_everything_is(vitals: Gauges, replica: Replica, rows: Rows) -> None:
    connection = await rows.insert()
    await replica.refresh.tokens.get(TENANT, connection.id)
    async with replica.core.database.transaction():
        await vitals.measure()
    assert measured("broker_database_connections", state="in_use") == 1
    assert measured("broker_cache_entries", cache="connections") == 1
    assert measured("broker_cache_entries", cache="callers") == 0
    assert measured("broker_bank_waiting_queries") == 0
    assert measured("broker_spooled_refreshes") == 0


async def test_what_is_on_disk_from_before_is_seen_at_once(vitals: Gauges, tmp_path: Path) -> None:
    spool = tmp_path / "data-1" / "spool"
    spool.mkdir(parents=True)
    for name in ("con_x.1.refresh", "ses_x.login", "ses_y.draft"):
        (spool / name).touch()
    await vitals.measure()
    assert measured("broker_spooled_refreshes") == 2


async def test_one_replica_counts_and_all_tell(
    vitals: Gauges, replicas: ReplicaFactory, replica: Replica, rows: Rows
) -> None:
    made = [await rows.insert() for _ in range(3)]
    await rows.change_connection(made[0].id, status="revoked")
    await vitals.count()
    assert measured("broker_connections", status="active") == 2
    assert measured("broker_connections", status="revoked") == 1
    assert measured("broker_connections", status="pending_confirmation") == 0
    assert measured("broker_revocations_waiting") == 0
    await rows.insert()
    other = (await replicas()).maintenance.gauges
    await other.count()
    assert measured("broker_connections", status="active") == 2, "it was counted a moment ago"


async def test_counters_begin_at_zero_so_that_the_first_event_shows(vitals: Gauges) -> None:
    vitals.begin_at_zero()
    assert measured("broker_refreshes_total", outcome="invalid_client", cause="expired") is not None
    assert measured("broker_sessions_total", status="failed") is not None
