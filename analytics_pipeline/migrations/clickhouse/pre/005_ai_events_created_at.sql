-- When rows of the source were written: tells of a copied day whether it is still what the source holds.
ALTER TABLE duo_chat_events ${ON_CLUSTER}
    ADD COLUMN IF NOT EXISTS created_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when the product wrote it; unknown in days copied before this column was there' AFTER timestamp;

ALTER TABLE code_suggestion_events ${ON_CLUSTER}
    ADD COLUMN IF NOT EXISTS created_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when the product wrote it; unknown in days copied before this column was there' AFTER timestamp;
