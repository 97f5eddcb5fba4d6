"""Finds the tenants that have rows in a table, for work that takes some rows of each tenant."""

from sqlalchemy import CTE, ColumnElement, Table, func, select


def tenants_of(table: Table, *conditions: ColumnElement[bool]) -> CTE:
    """Return the tenants that have matching rows, ordered by name. The last row of the result is NULL.

    Needs an index that begins with `tenant`: one index lookup finds the next tenant, however many rows each has
    (PostgreSQL wiki, "Loose indexscan").
    """
    names = select(func.min(table.c.tenant).label("tenant")).where(*conditions).cte("tenants", recursive=True)
    after = select(func.min(table.c.tenant)).where(*conditions, table.c.tenant > names.c.tenant).scalar_subquery()
    return names.union_all(select(after).where(names.c.tenant.is_not(None)))
