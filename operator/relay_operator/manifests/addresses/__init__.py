"""The addresses that relays may and may not be led to."""
