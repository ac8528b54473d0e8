"""Settings of statements that only read, and that may not cost more than so much."""

from collections.abc import Mapping

STATEMENT_SECONDS = 30
# A server's own profile may be narrower; nothing here widens it.
READ_PROFILE: Mapping[str, int | str] = {
    "readonly": 2,
    "max_rows_to_read": 1_000_000_000,
    "max_bytes_to_read": 100_000_000_000,
    "max_result_rows": 100_000,
    "result_overflow_mode": "throw",
    "max_memory_usage": 4_000_000_000,
    "max_bytes_before_external_group_by": 1_000_000_000,
    "max_bytes_before_external_sort": 1_000_000_000,
    # A statement is stopped by the clock, not by an estimate of how long it will take.
    "timeout_before_checking_execution_speed": 0,
}
