"""Alembic's entry: runs the revisions on the connection that `migrate` hands over."""

from alembic import context
from sqlalchemy import text

from analytics_pipeline.resources.postgres import SCHEMA

connection = context.config.attributes["connection"]
# Asked first, because IF NOT EXISTS demands the right to create even where there is nothing to create.
if connection.execute(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}).scalar() is None:
    connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
context.configure(connection=connection, version_table_schema=SCHEMA)
with context.begin_transaction():
    context.run_migrations()
