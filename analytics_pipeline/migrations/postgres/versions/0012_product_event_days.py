"""Ledger of the days of product events that were aggregated, with the events that each day had then."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.product_event_days (
            relation           text        NOT NULL,
            day                date        NOT NULL,
            events             bigint      NOT NULL,
            newest_received_at timestamptz,
            settled_until      timestamptz NOT NULL,
            rows               bigint      NOT NULL,
            definition         text        NOT NULL,
            run_id             text        NOT NULL,
            computed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (relation, day)
        );
        COMMENT ON TABLE analytics_pipeline.product_event_days IS
            'One row for each aggregate and UTC day: the events that its figures are of.';
        COMMENT ON COLUMN analytics_pipeline.product_event_days.events IS
            'All events of the day that had been received until then, whether or not the aggregate is about them.';
        COMMENT ON COLUMN analytics_pipeline.product_event_days.newest_received_at IS
            'When the last of them was received. NULL: there was none.';
        COMMENT ON COLUMN analytics_pipeline.product_event_days.settled_until IS
            'The figures are of events received up to here; what was received later is added by whoever reads.';
        COMMENT ON COLUMN analytics_pipeline.product_event_days.rows IS 'Rows that the aggregate has of the day.';
        COMMENT ON COLUMN analytics_pipeline.product_event_days.definition IS
            'Hash of the statement that computed them.';

        CREATE VIEW analytics_pipeline.held_product_event_days AS
        SELECT days.*, (CASE WHEN held.state = 'held' THEN held.checksum END)::bigint AS version
        FROM analytics_pipeline.product_event_days AS days
        JOIN analytics_pipeline.held_days AS held USING (relation, day)
        JOIN analytics_pipeline.vouched_days AS vouched USING (relation, day);
        COMMENT ON VIEW analytics_pipeline.held_product_event_days IS
            'Those that ClickHouse holds as recorded; version is that of their rows, NULL while they are swapped.';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP VIEW analytics_pipeline.held_product_event_days;
        DROP TABLE analytics_pipeline.product_event_days;
        """
    )
