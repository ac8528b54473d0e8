"""Ledger of who was forgotten, by a keyed hash, and of what went from where."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.erasure_key (
            is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
            key     bytea   NOT NULL CHECK (octet_length(key) = 32)
        );
        INSERT INTO analytics_pipeline.erasure_key (key)
        SELECT sha256((gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text)::bytea);
        COMMENT ON TABLE analytics_pipeline.erasure_key IS
            'The key of the hashes in erasures. Whoever loses it can tell nobody that was forgotten from others.';

        CREATE TABLE analytics_pipeline.erasures (
            id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            kind         text        NOT NULL,
            subject      bytea       NOT NULL CHECK (octet_length(subject) = 32),
            part_of      bigint      REFERENCES analytics_pipeline.erasures (id),
            state        text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'completed')),
            requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            completed_at timestamptz,
            UNIQUE (kind, subject)
        );
        COMMENT ON TABLE analytics_pipeline.erasures IS
            'One row for each subject that was forgotten. Writers leave out whoever is here.';
        COMMENT ON COLUMN analytics_pipeline.erasures.subject IS
            'SHA-256 over the key and the SHA-256 over the key and the subject''s kind and id.';
        COMMENT ON COLUMN analytics_pipeline.erasures.part_of IS
            'Of a project or an environment: the organisation with which it was forgotten.';

        CREATE TABLE analytics_pipeline.erased_rows (
            erasure    bigint      NOT NULL REFERENCES analytics_pipeline.erasures (id),
            place      text        NOT NULL,
            rows       bigint      NOT NULL,
            days       date[]      NOT NULL DEFAULT '{}',
            state      text        NOT NULL CHECK (state IN ('running', 'done')),
            updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (erasure, place)
        );
        COMMENT ON TABLE analytics_pipeline.erased_rows IS
            'What went from each place, over all times that the subject was forgotten.';
        COMMENT ON COLUMN analytics_pipeline.erased_rows.days IS
            'Days of which something was being removed: a command that died goes on with these.';
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP TABLE analytics_pipeline.erased_rows;
        DROP TABLE analytics_pipeline.erasures;
        DROP TABLE analytics_pipeline.erasure_key;
        """
    )
