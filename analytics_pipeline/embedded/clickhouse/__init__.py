"""chDB, the real ClickHouse engine, behind ClickHouse's HTTP interface: for one machine and for tests.

`server` starts it, `app` speaks HTTP, `execution` runs statements, `engine` owns the chDB handles.
"""
