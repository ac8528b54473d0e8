"""Charts as SVG, made on the server: they need no JavaScript, and the page's own style gives them their colours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pygal
from markupsafe import Markup
from pygal.style import Style

# What pygal adds for pages that have neither a style of their own nor a policy that forbids what stands inside.
_FOREIGN = ("style", "script")
_LABELS = 5
# What XML cannot hold, not even escaped.
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Series:
    """A line, or one colour of bars: a value for each label of the chart; None is unknown and leaves a gap."""

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Chart:
    """Series over common labels, which are days or names. `kind` is how they are drawn, `unit` what is counted."""

    title: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str = ""
    kind: str = "line"

    @property
    def rows(self) -> list[tuple[str, tuple[float | None, ...]]]:
        """The same as a table: each label with a value of every series."""
        return [(label, tuple(one.values[number] for one in self.series)) for number, label in enumerate(self.labels)]

    @property
    def svg(self) -> Markup:
        """The drawing. Names are escaped by the library."""
        drawn = _KINDS[self.kind](**_options(self.labels, len(self.series)))
        drawn.x_labels = [_drawable(label) for label in self.labels]
        for one in self.series:
            drawn.add(_drawable(one.name), list(one.values))
        drawn.add_xml_filter(_bare)
        return Markup(drawn.render(is_unicode=True))  # noqa: S704 - the library escapes what it is given


_KINDS: dict[str, Any] = {"line": pygal.Line, "bars": pygal.StackedBar, "across": pygal.HorizontalBar}


def _options(labels: Sequence[str], series: int) -> dict[str, Any]:
    return {
        "width": 480,
        "height": 230,
        "margin": 8,
        "margin_right": 42,
        "max_scale": 8,
        # As in style.css: room is made by it.
        "style": Style(label_font_size=13, major_label_font_size=13, legend_font_size=13),
        "allow_interruptions": True,
        "js": [],
        "css": [],
        "disable_xml_declaration": True,
        "show_legend": series > 1,
        "legend_at_bottom": True,
        "legend_box_size": 10,
        "dots_size": 2,
        "include_x_axis": True,
        "truncate_legend": 40,
        "truncate_label": 40,
        "show_minor_x_labels": len(labels) <= _LABELS,
        "x_labels_major_count": _LABELS,
        "no_data_text": "nothing to show",
        "formatter": _number,
    }


def _drawable(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _bare(root: ElementTree.Element) -> ElementTree.Element:
    """Without what the page's policy refuses, and hidden from readers of the screen, who get the table beside it."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _is_foreign(child):
                parent.remove(child)
            elif _class(parent) == "dots" and _class(child).startswith("dot "):
                child.append(_title(child, _said(parent)))
        parent.attrib.pop("id", None)
        parent.attrib.pop("style", None)
    root.set("aria-hidden", "true")
    root.set("focusable", "false")
    return root


def _title(beside: ElementTree.Element, text: str) -> ElementTree.Element:
    """An element of the same library as the one beside it: pygal draws with lxml where that is installed."""
    namespace, brace, _ = beside.tag.rpartition("}")
    made = beside.makeelement(f"{namespace}{brace}title", {})
    made.text = text
    return made


def _is_foreign(element: ElementTree.Element) -> bool:
    tag = str(element.tag)
    return (
        not isinstance(element.tag, str) or tag.rpartition("}")[2] in _FOREIGN or "tooltip-overlay" in _class(element)
    )


def _class(element: ElementTree.Element) -> str:
    return element.get("class", "")


def _said(dot: ElementTree.Element) -> str:
    """The text for a pointer that rests on a dot."""
    told = {_class(one): one.text or "" for one in dot if str(one.tag).endswith("desc")}
    return f"{told.get('x_label', '')}: {told.get('value', '')}"
