"""What the product owns and the pipeline only reads, so that lineage begins where the data does."""

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
