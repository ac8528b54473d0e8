"""Ledger of copied source days, watermarks, coverage of the reporting rollups."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.source_copies (
            source     text        NOT NULL,
            day        date        NOT NULL,
            rows       bigint      NOT NULL,
            newest     timestamptz,
            refused    bigint      NOT NULL,
            horizon    timestamptz NOT NULL,
            copied_at  timestamptz NOT NULL,
            swapped_at timestamptz NOT NULL,
            run_id     text        NOT NULL,
            PRIMARY KEY (source, day)
        );
        COMMENT ON TABLE analytics_pipeline.source_copies IS
            'One row for each source and UTC day: what its last copy into ClickHouse held, and when it was read.';

        CREATE TABLE analytics_pipeline.watermarks (
            source     text        PRIMARY KEY,
            passed     timestamptz NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE analytics_pipeline.watermarks IS
            'Every change of the source before `passed` is in ClickHouse; it only moves forward.';

        CREATE TABLE analytics_pipeline.reporting_coverage (
            account_id       bigint      NOT NULL,
            date             date        NOT NULL,
            timezone         text        NOT NULL,
            starts_at        timestamptz NOT NULL,
            ends_at          timestamptz NOT NULL,
            registry_version text        NOT NULL,
            complete         boolean     NOT NULL,
            source_copied_at timestamptz,
            computed_at      timestamptz NOT NULL,
            run_id           text        NOT NULL,
            PRIMARY KEY (date, account_id)
        );
        CREATE INDEX ON analytics_pipeline.reporting_coverage (account_id, date);
        COMMENT ON TABLE analytics_pipeline.reporting_coverage IS
            'One row for each account and local day: with which zone and registry its rollup was computed.';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE analytics_pipeline.source_copies;
        DROP TABLE analytics_pipeline.watermarks;
        DROP TABLE analytics_pipeline.reporting_coverage;
        """
    )
