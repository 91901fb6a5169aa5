"""Decides where a call goes: the compiled document, routes, sessions, breakers."""
