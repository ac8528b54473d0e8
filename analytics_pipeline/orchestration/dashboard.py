"""Links from Dagster to the dashboard: an asset's page has one to the page that shows what the asset computes."""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from analytics_pipeline.config import FlowName

# By flow. Identities have no page of their own: they are read as segments.
PAGES: Mapping[FlowName, str] = {
    "identities": "/segments",
    "segments": "/segments",
    "reporting": "/reporting",
    "ai_usage": "/ai-usage",
    "usage_export": "/usage-export",
    "product_events": "/product-events",
}


def linked(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], address: str | None
) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets with a link to their flow's page of the dashboard at this address; None: nobody knows where it is."""
    pages = {} if address is None else {flow: f"{address.rstrip('/')}{path}" for flow, path in PAGES.items()}

    def with_link(spec: dg.AssetSpec) -> dg.AssetSpec:
        page = pages.get(spec.group_name)  # type: ignore[call-overload]  # sources are a group of no flow
        return spec if page is None else spec.merge_attributes(metadata={"dashboard": dg.MetadataValue.url(page)})

    return dg.map_asset_specs(with_link, assets)
