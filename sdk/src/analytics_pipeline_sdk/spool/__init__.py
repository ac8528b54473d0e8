"""The spool: events on disk, in segment files that outlive the process and are replayed by a later one."""
