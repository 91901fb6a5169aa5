"""The ledger on real databases: SQLite in a file, and PostgreSQL of Debian, started here by a user without rights."""
