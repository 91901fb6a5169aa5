"""Calls of tools that must not be carried out twice: claimed before they are sent, and told again to whoever makes them again."""
