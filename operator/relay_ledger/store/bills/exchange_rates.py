"""Exchange rates: rows with a time, of which the last before a moment counts. The ledger itself is in USD."""

from sqlalchemy import Connection, Engine, insert, select

from relay_ledger.money.rounding import USD, Currency
from relay_ledger.periods.zones import utc_text
from relay_ledger.statements.statement import NoRate, Rate
from relay_ledger.store.databases import is_sqlite, lock
from relay_ledger.store.tables import EXCHANGE_RATES


def put_rate(engine: Engine, rate: Rate, *, now: int) -> bool:
    """Puts a rate into force from its time on; returns False if it is the one in force then."""
    with engine.begin() as connection:
        if not is_sqlite(connection):
            lock(connection, "exchange rates")
        of_time = (
            EXCHANGE_RATES.c.currency == rate.currency.code,
            EXCHANGE_RATES.c.starts_at == rate.since,
        )
        latest = connection.execute(
            select(EXCHANGE_RATES).where(*of_time).order_by(EXCHANGE_RATES.c.number.desc()).limit(1)
        ).one_or_none()
        if latest is not None and (latest.rate_micro, latest.source) == (rate.micro, rate.source):
            return False
        row = {
            "currency": rate.currency.code,
            "starts_at": rate.since,
            "number": 1 if latest is None else latest.number + 1,
            "rate_micro": rate.micro,
            "source": rate.source,
            "loaded_at": now,
        }
        connection.execute(insert(EXCHANGE_RATES), [row])
    return True


def rate_at(connection: Connection, currency: Currency, at: int) -> Rate:
    """Returns the rate in force at a time; raises NoRate."""
    if currency == USD:
        return Rate()
    row = connection.execute(
        select(EXCHANGE_RATES)
        .where(EXCHANGE_RATES.c.currency == currency.code, EXCHANGE_RATES.c.starts_at <= at)
        .order_by(EXCHANGE_RATES.c.starts_at.desc(), EXCHANGE_RATES.c.number.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise NoRate(
            f"there is no exchange rate of {currency.code} at {utc_text(at)}:"
            f" give one with `relay-ledger rates {currency.code} RATE --from DAY`"
        )
    return Rate(currency, row.rate_micro, row.starts_at, row.source)
