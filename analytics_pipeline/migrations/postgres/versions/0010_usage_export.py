"""State of the usage export: a bookmark for each sink, ids that were passed, allow lists, deliveries."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.event_logs_export_allowlist (
            event_name text        PRIMARY KEY CHECK (event_name <> ''),
            added_at   timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE analytics_pipeline.event_logs_export_allowlist IS
            'Names of events that leave, besides those of the product''s own allow list.';

        CREATE TABLE analytics_pipeline.event_logs_export_fields (
            event_name text NOT NULL CHECK (event_name <> ''),
            key        text NOT NULL CHECK (key <> ''),
            added_at   timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (event_name, key)
        );
        COMMENT ON TABLE analytics_pipeline.event_logs_export_fields IS
            'Keys of public_argument and feature_flags that leave with an event. * stands for all.';

        CREATE TABLE analytics_pipeline.export_deliveries (
            id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            sink       text        NOT NULL,
            kind       text        NOT NULL CHECK (kind IN ('live', 'late', 'past')),
            first_id   bigint      NOT NULL,
            last_id    bigint      NOT NULL,
            records    bigint      NOT NULL,
            failed     bigint      NOT NULL DEFAULT 0,
            bytes      bigint      NOT NULL DEFAULT 0,
            status     text        NOT NULL CHECK (status IN ('sending', 'delivered', 'failed')),
            error      text        NOT NULL DEFAULT '',
            attempts   integer     NOT NULL DEFAULT 1,
            started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            ended_at   timestamptz
        );
        CREATE INDEX ON analytics_pipeline.export_deliveries (sink, id);
        CREATE INDEX ON analytics_pipeline.export_deliveries (started_at);
        COMMENT ON TABLE analytics_pipeline.export_deliveries IS 'Batches that were sent, kept for 30 days.';
        COMMENT ON COLUMN analytics_pipeline.export_deliveries.failed IS 'Records that became dead letters.';
        COMMENT ON COLUMN analytics_pipeline.export_deliveries.bytes IS 'As sent over the wire.';

        CREATE TABLE analytics_pipeline.event_logs_scrape_state (
            sink                 text        PRIMARY KEY,
            bookmark_id          bigint      NOT NULL,
            created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
            planned_delivery     bigint,
            planned_ids          int8multirange,
            planned_to           bigint,
            planned_past         bigint,
            paused_at            timestamptz,
            last_success_at      timestamptz,
            last_error           text        NOT NULL DEFAULT '',
            last_error_at        timestamptz,
            consecutive_failures integer     NOT NULL DEFAULT 0,
            next_attempt_at      timestamptz,
            exported             bigint      NOT NULL DEFAULT 0,
            failed               bigint      NOT NULL DEFAULT 0,
            batch_size           integer,
            queue_size           bigint,
            oldest_pending_at    timestamptz,
            measured_at          timestamptz
        );
        COMMENT ON TABLE analytics_pipeline.event_logs_scrape_state IS
            'One row for each sink: how far it has been served, what is on its way, how it went.';
        COMMENT ON COLUMN analytics_pipeline.event_logs_scrape_state.bookmark_id IS
            'Every event up to this id has been dealt with, but for the ids in event_logs_gaps.';
        COMMENT ON COLUMN analytics_pipeline.event_logs_scrape_state.planned_ids IS
            'The events of the batch on its way. A batch that was not acknowledged is made of the same again.';
        COMMENT ON COLUMN analytics_pipeline.event_logs_scrape_state.planned_to IS
            'Where the bookmark goes when the batch is acknowledged; of a batch of the past, the past''s own.';

        CREATE TABLE analytics_pipeline.event_logs_gaps (
            sink       text        NOT NULL,
            first_id   bigint      NOT NULL,
            last_id    bigint      NOT NULL CHECK (last_id >= first_id),
            open_until xid8        NOT NULL,
            is_settled boolean     NOT NULL DEFAULT false,
            passed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
            looked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (sink, first_id)
        );
        COMMENT ON TABLE analytics_pipeline.event_logs_gaps IS
            'Ids that no committed event had when the bookmark passed them. They are looked at again.';
        COMMENT ON COLUMN analytics_pipeline.event_logs_gaps.open_until IS
            'Transactions before this one may have been open when the ids were passed.';
        COMMENT ON COLUMN analytics_pipeline.event_logs_gaps.is_settled IS
            'They were looked at after all transactions had ended that were open when they were passed.';

        CREATE TABLE analytics_pipeline.event_logs_export_past (
            id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            sink         text        NOT NULL,
            event_name   text,
            done_id      bigint,
            until_id     bigint,
            requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            finished_at  timestamptz,
            exported     bigint      NOT NULL DEFAULT 0
        );
        CREATE INDEX ON analytics_pipeline.event_logs_export_past (sink, id);
        COMMENT ON TABLE analytics_pipeline.event_logs_export_past IS
            'Histories that were asked for, sink by sink, each with a bookmark of its own.';
        COMMENT ON COLUMN analytics_pipeline.event_logs_export_past.event_name IS 'NULL: every allowed name.';
        COMMENT ON COLUMN analytics_pipeline.event_logs_export_past.done_id IS
            'Events up to this id are done. NULL: from the first event on.';
        COMMENT ON COLUMN analytics_pipeline.event_logs_export_past.until_id IS
            'The last id of it. NULL: up to the bookmark of the live export when work on it begins.';

        CREATE VIEW analytics_pipeline.export_figures AS
        SELECT
            state.sink,
            state.queue_size,
            extract(epoch FROM state.measured_at - state.oldest_pending_at)::double precision AS oldest_pending_seconds,
            state.exported AS exported_total,
            state.failed AS failed_total,
            state.batch_size,
            latest.records AS last_batch_records,
            extract(epoch FROM latest.ended_at - latest.started_at)::double precision AS last_batch_seconds,
            state.consecutive_failures,
            state.last_success_at,
            state.paused_at IS NOT NULL AS is_paused,
            state.measured_at
        FROM analytics_pipeline.event_logs_scrape_state AS state
        LEFT JOIN LATERAL (
            SELECT records, started_at, ended_at FROM analytics_pipeline.export_deliveries
            WHERE sink = state.sink AND status = 'delivered' ORDER BY id DESC LIMIT 1
        ) AS latest ON true;
        COMMENT ON VIEW analytics_pipeline.export_figures IS
            'For monitoring: each sink''s queue, age of its oldest pending event, totals, last batch.';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP VIEW analytics_pipeline.export_figures;
        DROP TABLE analytics_pipeline.event_logs_export_past;
        DROP TABLE analytics_pipeline.event_logs_gaps;
        DROP TABLE analytics_pipeline.event_logs_scrape_state;
        DROP TABLE analytics_pipeline.export_deliveries;
        DROP TABLE analytics_pipeline.event_logs_export_fields;
        DROP TABLE analytics_pipeline.event_logs_export_allowlist;
        """
    )
