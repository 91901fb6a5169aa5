"""What clients carry for the relay: sealed, so that it is good for them alone, and every worker can go on with it."""
