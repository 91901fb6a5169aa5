"""What can go wrong, in words for the person at the terminal."""


class ClusterError(Exception):
    """A command could not be carried out; the message says what was attempted and what the reader can do."""


class ToolMissing(ClusterError):
    """A program, package or kernel feature this machine does not have."""
