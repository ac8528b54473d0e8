"""Product events: what services send, checked, made less personal, stored once."""
