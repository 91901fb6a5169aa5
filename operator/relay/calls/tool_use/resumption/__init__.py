"""Streams of calls that go on after they were broken off: at the server, which the relay asks for the rest, and at the client, which asks the relay."""
