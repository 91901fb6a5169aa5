"""Processes of a relay pod: the supervisor, its workers, the admin port, the document in force."""
