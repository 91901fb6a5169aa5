"""Whose rows there are, each by a look into an index that begins with the tenant: a table may have a hundred million rows."""

from sqlalchemy import Connection, Select, Table, func, select


def every_tenant(table: Table) -> Select[tuple[str]]:
    """Returns the question for the UIDs of all that have rows in a table, in the order of the database."""
    uid = table.c.tenant_uid
    tenants = select(func.min(uid).label("uid")).cte("tenants", recursive=True)
    following = select(func.min(uid)).where(uid > tenants.c.uid).scalar_subquery()
    tenants = tenants.union_all(select(following).where(tenants.c.uid.is_not(None)))
    return select(tenants.c.uid).where(tenants.c.uid.is_not(None))


def tenants_in(connection: Connection, table: Table) -> list[str]:
    """Returns those UIDs."""
    return [str(uid) for uid in connection.execute(every_tenant(table)).scalars()]
