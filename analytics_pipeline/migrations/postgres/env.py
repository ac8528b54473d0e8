"""Alembic's entry: runs the revisions on the connection that `migrate` hands over."""

from alembic import context
from sqlalchemy import text

from analytics_pipeline.resources.postgres import SCHEMA

connection = context.config.attributes["connection"]
connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
context.configure(connection=connection, version_table_schema=SCHEMA)
with context.begin_transaction():
    context.run_migrations()
