"""Secrets that stand in files, as container platforms mount them: `<VARIABLE>_FILE` names the file of `<VARIABLE>`.

`python -m analytics_pipeline.secret_files PROGRAM …` becomes the program with the secrets in its environment, for
programs that know nothing of such files, as Dagster's. It imports nothing else of the package, so it costs no start.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

SUFFIX = "_FILE"
VARIABLES = (
    "ALERT_WEBHOOK_URL",
    "CLICKHOUSE_URL",
    "DAGSTER_POSTGRES_URL",
    "DASHBOARD_SECRET",
    "DATABASE_URL",
    "EVENT_PRIVACY_KEY",
    "EXPORT_SINKS",
    "LEDGER_DATABASE_URL",
)
_SINK_SECRET = re.compile(r"EXPORT_SINK_\w+_SECRET")
Problems = list[tuple[str, str]]


def read(environment: Mapping[str, str]) -> tuple[dict[str, str], Problems]:
    """The values by variable without surrounding space, and each mistake as `(variable, what is wrong)`.

    A blank `<VARIABLE>_FILE` counts as unset. What a file holds is never part of a text.
    """
    values: dict[str, str] = {}
    problems: Problems = []
    for name in filter(_may_be_in_a_file, sorted(environment)):
        path, variable = environment[name].strip(), name.removesuffix(SUFFIX)
        if not path:
            continue
        if environment.get(variable, "").strip():
            problems.append((name, f"is set, and {variable} is as well: remove one of the two"))
            continue
        try:
            values[variable] = Path(path).read_text().strip()
        except (OSError, ValueError) as error:
            problems.append((name, f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}"))
            continue
        if not values[variable]:
            problems.append((name, f"{path} is empty"))
    return values, problems


def exported(environment: Mapping[str, str]) -> tuple[dict[str, str], Problems]:
    """The environment with each secret in its own variable, and the mistakes."""
    values, problems = read(environment)
    read_already = {variable + SUFFIX for variable in values}
    return {name: value for name, value in environment.items() if name not in read_already} | values, problems


def _may_be_in_a_file(name: str) -> bool:
    variable = name.removesuffix(SUFFIX)
    return variable != name and (variable in VARIABLES or _SINK_SECRET.fullmatch(variable) is not None)


def main() -> None:
    """Become the program that the arguments name; exit code 1 without one, 4 when a secret cannot be read."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m analytics_pipeline.secret_files PROGRAM [ARGUMENT …]")
    environment, problems = exported(os.environ)
    if problems:
        print(*(f"{variable}: {reason}" for variable, reason in problems), sep="\n", file=sys.stderr)  # noqa: T201
        sys.exit(4)
    try:
        os.execvpe(sys.argv[1], sys.argv[1:], environment)  # noqa: S606 - the program that the image was started with
    except FileNotFoundError:
        sys.exit(f"{sys.argv[1]}: there is no such program")


if __name__ == "__main__":
    main()
