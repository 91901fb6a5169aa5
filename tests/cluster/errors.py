"""Errors of the command; their messages are printed to the user."""


class ClusterError(Exception):
    """A command could not be carried out; the message says what was attempted and what the reader can do."""


class ToolMissing(ClusterError):
    """A program, package or kernel feature is missing on this machine."""
