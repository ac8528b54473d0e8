"""The product's own data, which the pipeline only reads. With it, lineage begins where the data does."""

import dagster as dg

identity_documents = dg.AssetSpec(
    key=["source", "identities"],
    group_name="sources",
    kinds={"dynamodb"},
    description="The identity documents in the table `IDENTITIES_TABLE`, listed by environment through its index.",
)
environments = dg.AssetSpec(
    key=["source", "environments"],
    group_name="sources",
    kinds={"postgres"},
    description="Organisations, projects, environments and feature flags: which tenants the flows work on.",
)
segments = dg.AssetSpec(
    key=["source", "segments"],
    group_name="sources",
    kinds={"postgres"},
    description="The segments that the product's users define, with their rules.",
)
accounts = dg.AssetSpec(
    key=["source", "accounts"],
    group_name="sources",
    kinds={"postgres"},
    description="The accounts, with the time zone that each wants its reports in.",
)
reporting_events = dg.AssetSpec(
    key=["source", "reporting_events"],
    group_name="sources",
    kinds={"postgres"},
    description="What happened in conversations: first responses, replies, resolutions, the work of bots.",
)
ai_duo_chat_events = dg.AssetSpec(
    key=["source", "ai_duo_chat_events"],
    group_name="sources",
    kinds={"postgres"},
    description="Questions that users asked the AI chat.",
)
ai_code_suggestion_events = dg.AssetSpec(
    key=["source", "ai_code_suggestion_events"],
    group_name="sources",
    kinds={"postgres"},
    description="Code suggestions that were shown to users, and what they did with them.",
)
event_logs = dg.AssetSpec(
    key=["source", "event_logs"],
    group_name="sources",
    kinds={"postgres"},
    description="What users did in the product, event by event. `argument` is private and never read.",
)
event_logs_export_allowlist = dg.AssetSpec(
    key=["source", "event_logs_export_allowlist"],
    group_name="sources",
    kinds={"postgres"},
    description="The product's own list of the events that may leave.",
)

ALL = (
    identity_documents,
    environments,
    segments,
    accounts,
    reporting_events,
    ai_duo_chat_events,
    ai_code_suggestion_events,
    event_logs,
    event_logs_export_allowlist,
)
