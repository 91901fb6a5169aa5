"""What providers answer: content, errors, and streams of events."""
