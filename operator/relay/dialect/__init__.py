"""The OpenAI API as it is on the wire: paths, bodies, event streams, errors."""
