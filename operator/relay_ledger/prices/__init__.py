"""Prices with dates: their form as a file, which of them an attempt has, and what a correction of them changes."""
