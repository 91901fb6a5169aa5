"""Calls as providers get them: attempts, connections and keys, shadow copies."""
