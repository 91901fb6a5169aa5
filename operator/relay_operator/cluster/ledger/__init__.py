"""The ledger: the keys of its tokens, and how it is asked."""
