"""Optional pieces that track events by themselves; each is imported by whoever uses it."""
