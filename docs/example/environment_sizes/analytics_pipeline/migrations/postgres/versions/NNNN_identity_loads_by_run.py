"""Find the loads of a Dagster run."""

from alembic import op

revision = "NNNN"
down_revision = "MMMM"


def upgrade() -> None:
    op.execute("CREATE INDEX identity_loads_run_id ON analytics_pipeline.identity_loads (run_id)")


def downgrade() -> None:
    op.execute("DROP INDEX analytics_pipeline.identity_loads_run_id")
