"""Records of attempts on their way to the ledger: kept in files of the pod before a byte leaves, until the ledger has them."""
