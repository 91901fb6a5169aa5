"""What the ledger does by itself: closes what was left open, takes new prices and tokens, drops old months."""
