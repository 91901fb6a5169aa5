"""The OpenAI API as values: parses calls and builds answers. No I/O, clock or randomness."""
