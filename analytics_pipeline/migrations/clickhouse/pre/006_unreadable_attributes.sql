-- Which part of a row could not be read, though the event counts: its attributes are unknown, not zero or empty.
ALTER TABLE code_suggestion_events ${ON_CLUSTER}
    ADD COLUMN IF NOT EXISTS unreadable LowCardinality(String) AFTER branch_name;

ALTER TABLE code_suggestion_events ${ON_CLUSTER}
    COMMENT COLUMN unreadable 'attribute that was there but is unknown: suggestion_size, or payload for all; else empty';
