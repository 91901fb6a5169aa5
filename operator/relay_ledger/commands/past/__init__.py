"""Commands about what was before: use of old relays, and what people had the ledger change."""
