"""`broker refreshes`: the brake on refreshes that the bank suddenly refuses."""

from dataclasses import asdict

import typer

from app.cli.database import with_database
from app.cli.output import AsJson, show_all
from app.store.bank_clients import Storm, end_all_storms
from app.store.postgresql.database import Database


def resume(as_json: AsJson = False) -> None:
    """Refresh all connections again after a storm of invalid_grant.

    From then on the bank's refusals are believed again, unless another storm begins.
    """

    async def end(database: Database) -> list[Storm]:
        async with database.transaction() as transaction:
            return await end_all_storms(transaction)

    storms = with_database(end)
    if not as_json:
        typer.echo(f"resumed the refreshes of {len(storms)} bank clients")
        return
    show_all([{**asdict(storm.client), "since": storm.since} for storm in storms], as_json=True)
