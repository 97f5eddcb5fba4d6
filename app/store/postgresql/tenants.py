"""Whose rows there are, so that each tenant can have its turn."""

from sqlalchemy import CTE, ColumnElement, Table, func, select


def tenants_of(table: Table, *which: ColumnElement[bool]) -> CTE:
    """Name the tenants that have rows, in the order of their names; the last of them is NULL.

    From one to the next by an index that begins with `tenant`, however many rows each has.
    """
    names = select(func.min(table.c.tenant).label("tenant")).where(*which).cte("tenants", recursive=True)
    after = select(func.min(table.c.tenant)).where(*which, table.c.tenant > names.c.tenant).scalar_subquery()
    return names.union_all(select(after).where(names.c.tenant.is_not(None)))
