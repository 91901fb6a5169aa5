"""Tests of means: what an answer takes in tokens, and what it costs."""
