"""Ledger of segment count refreshes."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.segment_refreshes (
            project_id      bigint      NOT NULL,
            snapshot_date   date        NOT NULL,
            organisation_id bigint      NOT NULL,
            status          text        NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
            fingerprint     text        NOT NULL DEFAULT '',
            error           text        NOT NULL DEFAULT '',
            run_id          text        NOT NULL,
            started_at      timestamptz NOT NULL,
            completed_at    timestamptz,
            PRIMARY KEY (project_id, snapshot_date)
        );
        COMMENT ON TABLE analytics_pipeline.segment_refreshes IS
            'One row for each project and day: the last count of its segments, and which segments it counted.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE analytics_pipeline.segment_refreshes")
