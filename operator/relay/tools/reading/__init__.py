"""Messages as bytes: strict JSON, JSON-RPC and the header fields beside it, errors, and edits that leave the rest alone."""
