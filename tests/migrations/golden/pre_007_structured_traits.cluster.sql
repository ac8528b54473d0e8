-- Lists and maps of traits as the product wrote them: ClickHouse's JSON changes the types inside a list, and stores a
-- map as traits whose keys hold dots.
ALTER TABLE identities ON CLUSTER `main`
    ADD COLUMN IF NOT EXISTS structured_traits Array(LowCardinality(String))
    COMMENT 'keys of the traits that are lists or maps, which traits holds as JSON text' AFTER traits;

ALTER TABLE identities ON CLUSTER `main`
    ADD COLUMN IF NOT EXISTS traits_format UInt8 DEFAULT 1
    COMMENT '2: lists and maps are JSON text; 1: written before that, as JSON of ClickHouse' AFTER structured_traits;
