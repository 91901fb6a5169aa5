"""The traffic port: its sockets, what it serves, and the certificate that callers are served with."""
