"""The files that a DynamoDB export left in the landing zone, as its manifests tell or, without them, as they lie."""

from dataclasses import dataclass

import msgspec

from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import CorruptUnit, LandedFile

_ROOT = "AWSDynamoDB/"
_REPAIR = "Materialise raw_identities again while the day is open."


@dataclass(frozen=True)
class ExportFiles:
    """The data files and, where the export counted them, the items of the whole table."""

    files: tuple[LandedFile, ...]
    items: int | None


class _Summary(msgspec.Struct, rename="camel"):
    table_arn: str
    item_count: int
    output_format: str


class _DataFile(msgspec.Struct, rename="camel"):
    data_file_s3_key: str
    item_count: int
    etag: str = ""


def export_files(landing: LandingZone, unit: str, directory: str, summary_key: str | None, arn: str) -> ExportFiles:
    """The files of the export that was asked to write to `directory` of the unit.

    `summary_key` is what DynamoDB says of its manifest. An export that wrote no manifest has what lies in its `data/`.

    Raises:
        CorruptUnit: what lies there is not what the manifests promise.
    """
    stored = [file for file in landing.stored(unit) if file.name.startswith(f"{directory}/{_ROOT}")]
    if not stored:
        raise CorruptUnit(f"the export wrote nothing under {unit}/{directory}. {_REPAIR}")
    # Should two exports have been asked to write here, it is the named one, else the newest.
    home = _home(directory, summary_key) if summary_key else stored[-1].name.partition("/data/")[0]
    own = {file.name: file for file in stored if file.name.startswith(f"{home}/data/")}
    if f"{home}/manifest-files.json" not in {file.name for file in stored}:
        return ExportFiles(tuple(own.values()), None)
    items = _checked_summary(landing.get(unit, f"{home}/manifest-summary.json"), unit, arn)
    listing = msgspec.json.Decoder(_DataFile).decode_lines(landing.get(unit, f"{home}/manifest-files.json"))
    files = tuple(_promised(own, _inside(directory, entry.data_file_s3_key), entry, unit) for entry in listing)
    if sum(file.rows or 0 for file in files) != items:
        raise CorruptUnit(f"the export's files under {unit}/{home} do not add up to its {items:,} items. {_REPAIR}")
    return ExportFiles(files, items)


def _home(directory: str, summary_key: str) -> str:
    return _inside(directory, summary_key).rpartition("/")[0]


def _inside(directory: str, key: str) -> str:
    """An object key of AWS's manifests as a name in the unit, whether or not it begins with the export's prefix."""
    return f"{directory}/{_ROOT}{key.partition(_ROOT)[2]}"


def _checked_summary(content: bytes, unit: str, arn: str) -> int:
    summary = msgspec.json.decode(content, type=_Summary)
    if summary.table_arn != arn:
        raise CorruptUnit(f"the export in {unit} is of the table {summary.table_arn}, not of {arn}. {_REPAIR}")
    if summary.output_format != "DYNAMODB_JSON":
        raise CorruptUnit(f"the export in {unit} has the format {summary.output_format}, not DYNAMODB_JSON. {_REPAIR}")
    return summary.item_count


def _promised(stored: dict[str, LandedFile], name: str, entry: _DataFile, unit: str) -> LandedFile:
    file = stored.get(name)
    if file is None:
        raise CorruptUnit(f"{unit}/{name} is missing, the export's manifest names it. {_REPAIR}")
    if entry.etag and entry.etag.strip('"') != file.etag.strip('"'):
        raise CorruptUnit(f"{unit}/{name} is not the file that the export wrote. {_REPAIR}")
    return msgspec.structs.replace(file, rows=entry.item_count)
