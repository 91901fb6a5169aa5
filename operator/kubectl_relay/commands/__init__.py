"""One function for each command: it reads, makes the view, and says how that is shown."""
