"""The commands of `relay-ledger`."""
