"""Tokens with which services send events and readers read."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE analytics_pipeline.api_tokens (
            id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name            text        NOT NULL CHECK (name <> ''),
            token_hash      bytea       NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
            scope           text        NOT NULL CHECK (scope IN ('ingest', 'read')),
            organisation_id bigint      CHECK (organisation_id >= 0),
            account_id      bigint      CHECK (account_id >= 0),
            created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
            expires_at      timestamptz,
            revoked_at      timestamptz,
            last_used_at    timestamptz,
            CHECK (organisation_id IS NULL OR account_id IS NULL),
            CHECK (scope <> 'ingest' OR organisation_id IS NOT NULL)
        );
        CREATE UNIQUE INDEX ON analytics_pipeline.api_tokens (name) WHERE revoked_at IS NULL;
        COMMENT ON TABLE analytics_pipeline.api_tokens IS
            'Who may send events or read; tokens cannot be read from here.';
        COMMENT ON COLUMN analytics_pipeline.api_tokens.token_hash IS 'SHA-256 of the token: 256 random bits.';
        COMMENT ON COLUMN analytics_pipeline.api_tokens.scope IS
            'ingest: sends events of the organisation; read: reads everything, an organisation, or an account.';
        COMMENT ON COLUMN analytics_pipeline.api_tokens.last_used_at IS 'To the minute.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE analytics_pipeline.api_tokens")
