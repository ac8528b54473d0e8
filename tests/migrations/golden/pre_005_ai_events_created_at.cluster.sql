-- When the source's rows were written: tells of a copied day whether it is still what the source holds.
ALTER TABLE duo_chat_events ON CLUSTER `main`
    ADD COLUMN IF NOT EXISTS created_at Nullable(DateTime64(6, 'UTC')) AFTER timestamp;

ALTER TABLE duo_chat_events ON CLUSTER `main`
    COMMENT COLUMN created_at 'when the product wrote it; NULL in days copied before this column was there';

ALTER TABLE code_suggestion_events ON CLUSTER `main`
    ADD COLUMN IF NOT EXISTS created_at Nullable(DateTime64(6, 'UTC')) AFTER timestamp;

ALTER TABLE code_suggestion_events ON CLUSTER `main`
    COMMENT COLUMN created_at 'when the product wrote it; NULL in days copied before this column was there';
