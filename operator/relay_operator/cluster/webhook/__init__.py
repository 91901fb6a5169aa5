"""Tells a receiver of the platform about the moves of canaries, signed as Standard Webhooks have it."""
