"""Captures that the landing zone keeps: which are whole, so that a day can be loaded again, and which have expired."""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.identities.load import FORMATS
from analytics_pipeline.flows.identities.units import EXPORTS, UNITS, day_of, export_unit_of, unit_of
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import MANIFEST, Manifest
from analytics_pipeline.resources.postgres import LeaseHeld, Postgres

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


def remove_expired(landing: LandingZone, store: Postgres, today: date, keep_days: int) -> int:
    """Remove captures of days more than `keep_days` before today, with their dead letters; returns how many.

    An environment's newest capture stays however old it is, and so does the newest export. A day that is being captured
    or loaded is left to the next time.
    """
    first_kept = today - timedelta(days=keep_days)
    expired = {**_expired(landing, UNITS, first_kept), **_expired(landing, EXPORTS, first_kept)}
    return sum(_remove(landing, store, unit, day) for unit, day in expired.items())


def _expired(landing: LandingZone, root: str, first_kept: date) -> dict[str, date]:
    """The units of days before the first that is kept, but for those that are an environment's newest capture."""
    days = sorted(((day_of(prefix), prefix) for prefix in landing.below(root)), reverse=True)
    old = {day: _units(landing, root, prefix) for day, prefix in days if day < first_kept}
    # Whose newest capture has not been found yet.
    unseen = {_name(unit) for units in old.values() for unit in units}
    for day, prefix in days:
        if day >= first_kept and unseen:
            unseen -= _captured(_units(landing, root, prefix))
    found: dict[str, date] = {}
    for day, units in old.items():
        newest = _captured(units) & unseen
        found |= {unit: day for unit in units if _name(unit) not in newest}
        unseen -= newest
    return found


def _units(landing: LandingZone, root: str, prefix: str) -> dict[str, bool]:
    """Whether each of the day's units was committed: a capture that died has left files without a manifest."""
    found: dict[str, bool] = {}
    for file in landing.stored(prefix):
        unit = prefix if root == EXPORTS else f"{prefix}/{file.name.partition('/')[0]}"
        found[unit] = found.get(unit, False) or f"{prefix}/{file.name}" == f"{unit}/{MANIFEST}"
    return found


def _captured(units: Mapping[str, bool]) -> set[str]:
    return {_name(unit) for unit, is_committed in units.items() if is_committed}


def _name(unit: str) -> str:
    """The environment that the unit is of, or the whole table: the same on every day."""
    root, *_, last = unit.split("/")
    return root if root == EXPORTS else last


def _remove(landing: LandingZone, store: Postgres, unit: str, day: date) -> int:
    try:
        with store.lease(f"identities:{day}"), store.ledgers.connect() as connection:
            landing.remove(unit)
            connection.execute(_FORGET, [unit])
    except LeaseHeld:
        return 0
    return 1


_FORGET = "DELETE FROM analytics_pipeline.dead_letters WHERE flow = 'identities' AND unit = %s"
