"""What tenants ask of tool servers: booked once, and read by whoever wants to know who called what."""
