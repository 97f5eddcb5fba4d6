from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from app.maintenance.gauges import Gauges
from tests.conftest import ReplicaFactory
from tests.support.replica import Replica
from tests.support.rows import TENANT, Rows


def value_of(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture
def gauges(replica: Replica) -> Gauges:
    return replica.maintenance.gauges


async def test_the_use_of_pools_and_caches_is_measured(gauges: Gauges, replica: Replica, rows: Rows) -> None:
    connection = await rows.insert()
    await replica.refresh.tokens.get(TENANT, connection.id)
    async with replica.core.database.transaction():
        await gauges.measure()
    assert value_of("broker_database_connections", state="in_use") == 1
    assert value_of("broker_cache_entries", cache="connections") == 1
    assert value_of("broker_cache_entries", cache="callers") == 0
    assert value_of("broker_bank_waiting_queries") == 0
    assert value_of("broker_spooled_refreshes") == 0


async def test_the_spool_of_an_earlier_process_is_measured(gauges: Gauges, tmp_path: Path) -> None:
    spool = tmp_path / "data-1" / "spool"
    spool.mkdir(parents=True)
    for name in ("con_x.1.refresh", "ses_x.login", "ses_y.draft"):
        (spool / name).touch()
    await gauges.measure()
    assert value_of("broker_spooled_refreshes") == 2


async def test_one_replica_counts_and_all_publish_the_result(
    gauges: Gauges, replicas: ReplicaFactory, replica: Replica, rows: Rows
) -> None:
    inserted = [await rows.insert() for _ in range(3)]
    await rows.change_connection(inserted[0].id, status="revoked")
    await gauges.count()
    assert value_of("broker_connections", status="active") == 2
    assert value_of("broker_connections", status="revoked") == 1
    assert value_of("broker_connections", status="pending_confirmation") == 0
    assert value_of("broker_revocations_waiting") == 0
    await rows.insert()
    other = (await replicas()).maintenance.gauges
    await other.count()
    assert value_of("broker_connections", status="active") == 2, "counted again too soon"


async def test_counters_start_at_zero_so_that_the_first_event_is_an_increase(gauges: Gauges) -> None:
    gauges.initialize_counters()
    assert value_of("broker_refreshes_total", outcome="invalid_client", cause="expired") is not None
    assert value_of("broker_sessions_total", status="failed") is not None
