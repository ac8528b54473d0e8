"""Ledger of identity loads, current segment counts, dead letters."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.identity_loads (
            snapshot_date   date        NOT NULL,
            environment_key text        NOT NULL,
            environment_id  bigint      NOT NULL,
            project_id      bigint      NOT NULL,
            organisation_id bigint      NOT NULL,
            status          text        NOT NULL CHECK (status IN ('running', 'completed', 'failed')),
            captured_at     timestamptz,
            rows            bigint,
            error           text        NOT NULL DEFAULT '',
            run_id          text        NOT NULL,
            started_at      timestamptz NOT NULL,
            completed_at    timestamptz,
            PRIMARY KEY (snapshot_date, environment_key)
        );
        COMMENT ON TABLE analytics_pipeline.identity_loads IS
            'One row for each day and environment: the last load of its identities into ClickHouse.';

        CREATE TABLE analytics_pipeline.segment_membership_counts (
            segment_id      bigint      NOT NULL,
            environment_id  bigint      NOT NULL,
            project_id      bigint      NOT NULL,
            organisation_id bigint      NOT NULL,
            count           bigint      CHECK (count >= 0),
            status          text        NOT NULL CHECK (status IN ('counted', 'fallback', 'failed')),
            reason          text        NOT NULL DEFAULT '',
            snapshot_date   date        NOT NULL,
            last_synced_at  timestamptz,
            PRIMARY KEY (segment_id, environment_id)
        );
        CREATE INDEX ON analytics_pipeline.segment_membership_counts (project_id);
        COMMENT ON TABLE analytics_pipeline.segment_membership_counts IS
            'Current counts. A failure keeps count and last_synced_at of the last success.';

        CREATE TABLE analytics_pipeline.dead_letters (
            id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            flow        text        NOT NULL,
            unit        text        NOT NULL,
            record_key  text        NOT NULL,
            reason      text        NOT NULL,
            payload     text        NOT NULL,
            run_id      text        NOT NULL,
            recorded_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX ON analytics_pipeline.dead_letters (flow, unit);
        COMMENT ON TABLE analytics_pipeline.dead_letters IS
            'Records that could not be mapped, with the reason. A unit''s rows are replaced by its next capture.';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE analytics_pipeline.identity_loads;
        DROP TABLE analytics_pipeline.segment_membership_counts;
        DROP TABLE analytics_pipeline.dead_letters;
        """
    )
