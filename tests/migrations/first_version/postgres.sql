--
-- PostgreSQL database dump
--


-- Dumped from database version 18.6
-- Dumped by pg_dump version 18.6

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: analytics_pipeline; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA analytics_pipeline;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: alembic_version; Type: TABLE; Schema: analytics_pipeline; Owner: -
--

CREATE TABLE analytics_pipeline.alembic_version (
    version_num character varying(32) NOT NULL
);


--
-- Name: dead_letters; Type: TABLE; Schema: analytics_pipeline; Owner: -
--

CREATE TABLE analytics_pipeline.dead_letters (
    id bigint NOT NULL,
    flow text NOT NULL,
    unit text NOT NULL,
    record_key text NOT NULL,
    reason text NOT NULL,
    payload text NOT NULL,
    run_id text NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE dead_letters; Type: COMMENT; Schema: analytics_pipeline; Owner: -
--

COMMENT ON TABLE analytics_pipeline.dead_letters IS 'Records that could not be mapped, with the reason. A unit''s rows are replaced by its next capture.';


--
-- Name: dead_letters_id_seq; Type: SEQUENCE; Schema: analytics_pipeline; Owner: -
--

ALTER TABLE analytics_pipeline.dead_letters ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME analytics_pipeline.dead_letters_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: identity_loads; Type: TABLE; Schema: analytics_pipeline; Owner: -
--

CREATE TABLE analytics_pipeline.identity_loads (
    snapshot_date date NOT NULL,
    environment_key text NOT NULL,
    environment_id bigint NOT NULL,
    project_id bigint NOT NULL,
    organisation_id bigint NOT NULL,
    status text NOT NULL,
    captured_at timestamp with time zone,
    rows bigint,
    error text DEFAULT ''::text NOT NULL,
    run_id text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    CONSTRAINT identity_loads_status_check CHECK ((status = ANY (ARRAY['running'::text, 'completed'::text, 'failed'::text])))
);


--
-- Name: TABLE identity_loads; Type: COMMENT; Schema: analytics_pipeline; Owner: -
--

COMMENT ON TABLE analytics_pipeline.identity_loads IS 'One row for each day and environment: the last load of its identities into ClickHouse.';


--
-- Name: segment_membership_counts; Type: TABLE; Schema: analytics_pipeline; Owner: -
--

CREATE TABLE analytics_pipeline.segment_membership_counts (
    segment_id bigint NOT NULL,
    environment_id bigint NOT NULL,
    project_id bigint NOT NULL,
    organisation_id bigint NOT NULL,
    count bigint,
    status text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    snapshot_date date NOT NULL,
    last_synced_at timestamp with time zone,
    CONSTRAINT segment_membership_counts_count_check CHECK ((count >= 0)),
    CONSTRAINT segment_membership_counts_status_check CHECK ((status = ANY (ARRAY['counted'::text, 'fallback'::text, 'failed'::text])))
);


--
-- Name: TABLE segment_membership_counts; Type: COMMENT; Schema: analytics_pipeline; Owner: -
--

COMMENT ON TABLE analytics_pipeline.segment_membership_counts IS 'Current counts. A failure keeps count and last_synced_at of the last success.';


--
-- Name: segment_refreshes; Type: TABLE; Schema: analytics_pipeline; Owner: -
--

CREATE TABLE analytics_pipeline.segment_refreshes (
    project_id bigint NOT NULL,
    snapshot_date date NOT NULL,
    organisation_id bigint NOT NULL,
    status text NOT NULL,
    fingerprint text DEFAULT ''::text NOT NULL,
    error text DEFAULT ''::text NOT NULL,
    run_id text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    CONSTRAINT segment_refreshes_status_check CHECK ((status = ANY (ARRAY['running'::text, 'completed'::text, 'failed'::text])))
);


--
-- Name: TABLE segment_refreshes; Type: COMMENT; Schema: analytics_pipeline; Owner: -
--

COMMENT ON TABLE analytics_pipeline.segment_refreshes IS 'One row for each project and day: the last count of its segments, and which segments it counted.';


--
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: analytics_pipeline; Owner: -
--

INSERT INTO analytics_pipeline.alembic_version VALUES
	('0002');


--
-- Data for Name: dead_letters; Type: TABLE DATA; Schema: analytics_pipeline; Owner: -
--



--
-- Data for Name: identity_loads; Type: TABLE DATA; Schema: analytics_pipeline; Owner: -
--

INSERT INTO analytics_pipeline.identity_loads VALUES
	('2026-11-27', 'env-key-100', 100, 10, 1, 'completed', '2026-11-27 16:27:22.466+00', 2, '', 'a928fe34-b874-4742-a0fe-7e656737c45d', '2026-11-27 16:27:23.21474+00', '2026-11-27 16:27:23.649297+00'),
	('2026-11-27', 'env-key-101', 101, 10, 1, 'completed', '2026-11-27 16:27:22.466+00', 1, '', 'a928fe34-b874-4742-a0fe-7e656737c45d', '2026-11-27 16:27:23.21474+00', '2026-11-27 16:27:23.649297+00');


--
-- Data for Name: segment_membership_counts; Type: TABLE DATA; Schema: analytics_pipeline; Owner: -
--

INSERT INTO analytics_pipeline.segment_membership_counts VALUES
	(1, 100, 10, 1, 1, 'counted', '', '2026-11-27', '2026-11-27 16:27:25.003+00'),
	(1, 101, 10, 1, 1, 'counted', '', '2026-11-27', '2026-11-27 16:27:25.003+00'),
	(2, 100, 10, 1, 1, 'counted', '', '2026-11-27', '2026-11-27 16:27:25.003+00'),
	(2, 101, 10, 1, 0, 'counted', '', '2026-11-27', '2026-11-27 16:27:25.003+00');


--
-- Data for Name: segment_refreshes; Type: TABLE DATA; Schema: analytics_pipeline; Owner: -
--

INSERT INTO analytics_pipeline.segment_refreshes VALUES
	(10, '2026-11-27', 1, 'completed', 'cf9a08778c6c7e38e4642a5bfa88d0f0', '', '6e00a28b-e1d7-4617-9bb5-c17243687ca0', '2026-11-27 16:27:24.751091+00', '2026-11-27 16:27:25.182731+00');


--
-- Name: dead_letters_id_seq; Type: SEQUENCE SET; Schema: analytics_pipeline; Owner: -
--

SELECT pg_catalog.setval('analytics_pipeline.dead_letters_id_seq', 1, false);


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: analytics_pipeline; Owner: -
--

ALTER TABLE ONLY analytics_pipeline.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


--
-- Name: dead_letters dead_letters_pkey; Type: CONSTRAINT; Schema: analytics_pipeline; Owner: -
--

ALTER TABLE ONLY analytics_pipeline.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);


--
-- Name: identity_loads identity_loads_pkey; Type: CONSTRAINT; Schema: analytics_pipeline; Owner: -
--

ALTER TABLE ONLY analytics_pipeline.identity_loads
    ADD CONSTRAINT identity_loads_pkey PRIMARY KEY (snapshot_date, environment_key);


--
-- Name: segment_membership_counts segment_membership_counts_pkey; Type: CONSTRAINT; Schema: analytics_pipeline; Owner: -
--

ALTER TABLE ONLY analytics_pipeline.segment_membership_counts
    ADD CONSTRAINT segment_membership_counts_pkey PRIMARY KEY (segment_id, environment_id);


--
-- Name: segment_refreshes segment_refreshes_pkey; Type: CONSTRAINT; Schema: analytics_pipeline; Owner: -
--

ALTER TABLE ONLY analytics_pipeline.segment_refreshes
    ADD CONSTRAINT segment_refreshes_pkey PRIMARY KEY (project_id, snapshot_date);


--
-- Name: dead_letters_flow_unit_idx; Type: INDEX; Schema: analytics_pipeline; Owner: -
--

CREATE INDEX dead_letters_flow_unit_idx ON analytics_pipeline.dead_letters USING btree (flow, unit);


--
-- Name: segment_membership_counts_project_id_idx; Type: INDEX; Schema: analytics_pipeline; Owner: -
--

CREATE INDEX segment_membership_counts_project_id_idx ON analytics_pipeline.segment_membership_counts USING btree (project_id);


--
-- PostgreSQL database dump complete
--


