"""Where the landing zone keeps a day's identities, and what their files hold."""

from datetime import date
from hashlib import sha256
from urllib.parse import quote

FORMAT = "identity-rows/2"
# Its lines do not tell lists and maps from what ClickHouse makes of them.
EARLIER_FORMAT = "identity-rows/1"
EXPORT_FORMAT = "dynamodb-export/1"
UNITS, EXPORTS = "identities", "identities-export"
_DAY = "day="
# File systems take 255 bytes for a name, of which `environment=` takes 12.
_LONGEST_NAME = 240


def unit_of(day: date, environment_key: str) -> str:
    """Where the landing zone keeps an environment's identities of a day.

    The rest of a key that is too long for the name of a directory is hashed; `%~` begins no quoted character.
    """
    name = quote(environment_key, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:100]}%~{sha256(environment_key.encode()).hexdigest()}"
    return f"{UNITS}/{_DAY}{day.isoformat()}/environment={name}"


def export_unit_of(day: date) -> str:
    """Where the landing zone keeps a day's export of the whole table."""
    return f"{EXPORTS}/{_DAY}{day.isoformat()}"


def day_of(prefix: str) -> date:
    """The day of a path of either kind that ends with it."""
    return date.fromisoformat(prefix.rpartition(_DAY)[2])
