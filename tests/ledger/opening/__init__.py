"""Opening the ledger's database, and what is said of one that cannot be used."""
