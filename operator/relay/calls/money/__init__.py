"""The money of calls: reserved before they wait for anything, and settled with what they cost."""
