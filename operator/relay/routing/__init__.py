"""Where a call goes: the compiled document, routes, sessions, breakers."""
