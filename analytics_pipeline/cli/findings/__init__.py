"""Findings of `doctor`: what one is, and those about Dagster, about sinks, about ingestion of events."""
