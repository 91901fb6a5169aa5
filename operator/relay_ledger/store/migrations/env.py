"""Runs migrations on the connection that relay_ledger.store.schema hands over."""

from alembic import context

from relay_ledger.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
