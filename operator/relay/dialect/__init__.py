"""The OpenAI API on the wire: paths, header fields, bodies, event streams, errors."""
