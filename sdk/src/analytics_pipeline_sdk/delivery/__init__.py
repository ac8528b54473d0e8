"""From an accepted event to its verdict: what waits, who sends it, what becomes of it."""
