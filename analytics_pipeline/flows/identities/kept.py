"""Captures of a day that the landing zone still keeps whole, so that the day can be loaded from them again."""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime

from analytics_pipeline.flows.identities.load import FORMATS
from analytics_pipeline.flows.identities.units import export_unit_of, unit_of
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import MANIFEST, Manifest

_READERS = 16


def kept_captures(landing: LandingZone, day: date, environment_keys: Collection[str]) -> dict[str, datetime]:
    """When the capture was made that these environments' day would be loaded from, by key; only where it is whole.

    One listing of the day, and the manifests of these environments. That files have the right size is looked at, not
    what is in them: a load verifies that.
    """
    if not environment_keys:
        return {}
    export = landing.readable_manifest(export_unit_of(day))
    export_is_whole = export is not None and _is_whole(export, _sizes(landing, export_unit_of(day)))
    sizes = _sizes(landing, unit_of(day, "").rpartition("/")[0])
    names = {key: unit_of(day, key).rpartition("/")[2] for key in environment_keys}
    captured = [key for key, name in names.items() if f"{name}/{MANIFEST}" in sizes]
    with ThreadPoolExecutor(_READERS, thread_name_prefix="manifests") as pool:
        read = pool.map(lambda key: landing.readable_manifest(unit_of(day, key)), captured)
        manifests = dict(zip(captured, read, strict=True))
    found: dict[str, datetime] = {}
    for key in environment_keys:
        own = manifests.get(key)
        # The newest is what a load takes, whole or not.
        if own and (export is None or own.captured_at >= export.captured_at):
            if _is_whole(own, sizes, f"{names[key]}/"):
                found[key] = own.captured_at
        elif export and export_is_whole:
            found[key] = export.captured_at
    return found


def _sizes(landing: LandingZone, prefix: str) -> dict[str, int]:
    return {file.name: file.bytes for file in landing.stored(prefix)}


def _is_whole(manifest: Manifest, sizes: Mapping[str, int], directory: str = "") -> bool:
    return manifest.format in FORMATS and all(
        sizes.get(f"{directory}{file.name}") == file.bytes for file in manifest.files
    )
