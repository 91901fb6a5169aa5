"""What bills are made of: statements and exchange rates, and what is booked of a provider, to compare with its own."""
