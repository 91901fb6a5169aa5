"""Requests of the Model Context Protocol: each passes the gate, goes on to one server, and is answered by what that may say."""
