"""What `doctor` finds: findings as such, and those about Dagster, about sinks, about ingestion of events."""
