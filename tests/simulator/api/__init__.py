"""The OpenAI API as values: calls parsed, answers built. No I/O, no clock, no chance."""
