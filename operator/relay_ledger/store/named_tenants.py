"""Whom a command is about: a tenant's UID, or the name that its terms have; and what tenants are named."""

from sqlalchemy import Connection, Engine, select

from relay_ledger.store.credits import is_known
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import EVENTS, QUARANTINE, TERMS, TOOL_CALLS


class NoSuchTenant(ValueError):
    """A UID or name of which the ledger knows nothing, or a name of several; the message says which."""


def uid_of(engine: Engine, named: str, *, may_be_new: bool = False) -> str:
    """Returns the UID of a tenant that is given by it, or by the name that its newest terms have; raises NoSuchTenant.

    With may_be_new what is known as neither is the UID of a tenant of which the ledger has not heard.
    """
    with reading(engine) as connection:
        if is_known(connection, named) or _has_records(connection, named):
            return named
        names = names_in(connection)
    found: list[str] = sorted(uid for uid, name in names.items() if name == named)
    match found:
        case [] if may_be_new:
            return named
        case []:
            raise NoSuchTenant(
                f"the ledger knows no tenant of UID {named}, and none of that name: nothing is done"
            )
        case [uid]:
            return uid
    raise NoSuchTenant(
        f"several tenants are named {named}: give the UID, one of {', '.join(found)}"
    )


def names_of(engine: Engine) -> dict[str, str]:
    """Returns the names of tenants by UID, of those whose terms have one."""
    with reading(engine) as connection:
        return names_in(connection)


def names_in(connection: Connection) -> dict[str, str]:
    """Returns them as this transaction sees them: the newest terms count, also those of a time to come."""
    terms = connection.execute(
        select(TERMS.c.tenant_uid, TERMS.c.tenant).order_by(TERMS.c.starts_at, TERMS.c.number)
    )
    newest: dict[str, str] = {row.tenant_uid: row.tenant for row in terms}
    return {uid: name for uid, name in newest.items() if name}


def _has_records(connection: Connection, tenant_uid: str) -> bool:
    """Tells whether a relay of the tenant has delivered anything, booked or not."""
    return any(
        connection.execute(
            select(table.c.tenant_uid).where(table.c.tenant_uid == tenant_uid).limit(1)
        ).first()
        is not None
        for table in (EVENTS, TOOL_CALLS, QUARANTINE)
    )
