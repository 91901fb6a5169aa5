"""The tables of the ledger, on SQLite and PostgreSQL by the same statements. Nothing else knows of a database."""
