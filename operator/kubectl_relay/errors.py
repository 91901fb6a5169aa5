"""Names what keeps a command from its answer, in words that a person can act on."""


class PluginError(Exception):
    """A command cannot be carried out; the message says why and what to do."""


class NotFound(PluginError):
    """The object does not exist."""


class Forbidden(PluginError):
    """The user has no right to it."""
