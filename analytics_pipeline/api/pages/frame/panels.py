"""Panels of pages: each asks for itself, beside the others, and one that fails says so in its own place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from analytics_pipeline.api.answers import Told
from analytics_pipeline.api.pages.frame.charts import Chart
from analytics_pipeline.config import Settings

T = TypeVar("T")
_STYLES: Mapping[str, str] = {
    **dict.fromkeys(("number", "percent", "seconds", "milliseconds", "bytes"), "n"),
    **dict.fromkeys(("moment", "days"), "line"),
}


@dataclass(frozen=True)
class Item:
    """A figure with its name; `value` None is unknown. `kind` names the filter that writes it, `note` stands below."""

    name: str
    value: object
    kind: str = "number"
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and the filter that writes its cells."""

    name: str
    kind: str = "text"

    @property
    def style(self) -> str:
        """The class of its cells: numbers stand on the right, moments and days in one line."""
        return _STYLES.get(self.kind, "")


@dataclass(frozen=True)
class Link:
    """The text of a cell that leads somewhere."""

    text: str
    href: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; `empty` is said when there are none."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[object]]
    empty: str = "Nothing in this range."


@dataclass(frozen=True)
class View:
    """Everything that a panel shows, in this order; `told` says how far it can be trusted."""

    items: tuple[Item, ...] = ()
    chart: Chart | None = None
    table: Table | None = None
    note: str = ""
    told: Told | None = None


@dataclass(frozen=True)
class Panel:
    """A part of a page. `name` is its place in the address; `live_seconds` says how often an open page asks again."""

    name: str
    title: str
    ask: Callable[[], View]
    live_seconds: int = 0
    wide: bool = False


def asset_page(settings: Settings, asset: str) -> str | None:
    """The address of the asset's page in Dagster; None: `DAGSTER_UI_URL` is not set."""
    return f"{settings.dagster_ui_url.rstrip('/')}/assets/{asset}" if settings.dagster_ui_url else None


def once(ask: Callable[[], T]) -> Callable[[], T]:
    """The question of several panels that are asked side by side: it is asked once, by whichever comes first."""
    lock = Lock()
    answers: list[T] = []

    def answer() -> T:
        with lock:
            if not answers:
                answers.append(ask())
            return answers[0]

    return answer


def in_turn(panels: Sequence[Panel], shown: Callable[[Panel], str]) -> Iterator[str]:
    """All panels as they are shown, in their order, each as soon as it and those before it are there.

    They are asked side by side. `shown` never raises.
    """
    with ThreadPoolExecutor(max(1, len(panels)), "panel") as threads:
        asked = [threads.submit(copy_context().run, shown, panel) for panel in panels]
        for one in asked:
            yield one.result()


def chosen(panels: Sequence[Panel], parameters: Mapping[str, str]) -> Panel | None:
    """The one panel that an open page asks for again; None: the whole page is asked for."""
    return next((panel for panel in panels if panel.name == parameters.get("panel")), None)
