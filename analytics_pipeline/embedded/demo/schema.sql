-- The relations that the identities and segments flows read, as a product that uses them would have made them.
-- Every statement may run again.

CREATE TABLE IF NOT EXISTS organisations (
    id bigint PRIMARY KEY,
    name text NOT NULL
);

CREATE TABLE IF NOT EXISTS projects (
    id bigint PRIMARY KEY,
    organisation_id bigint NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    name text NOT NULL
);
CREATE INDEX IF NOT EXISTS projects_organisation_id ON projects (organisation_id);

CREATE TABLE IF NOT EXISTS environments (
    id bigint PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    api_key text NOT NULL UNIQUE,
    name text NOT NULL
);
CREATE INDEX IF NOT EXISTS environments_project_id ON environments (project_id);

CREATE TABLE IF NOT EXISTS segments (
    id bigint PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name text NOT NULL,
    rules jsonb NOT NULL DEFAULT '[]',
    deleted_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);
-- Deleted segments stay for ever; nearly every reader asks for the live ones of a project.
CREATE INDEX IF NOT EXISTS segments_live_project_id ON segments (project_id) WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS segments_updated_at ON segments (updated_at);

CREATE TABLE IF NOT EXISTS feature_flags (
    name text NOT NULL,
    scope text NOT NULL DEFAULT 'global',
    enabled boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, scope)
);
