"""The canary of a route: its phases and what is kept of it, and the machine that moves its weight."""
