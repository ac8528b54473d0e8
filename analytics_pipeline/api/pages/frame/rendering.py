"""Pages as HTML: the frame comes at once, each panel as soon as it is there. They need no JavaScript."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from fastapi import Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from analytics_pipeline.api.access import COOKIE, service_of
from analytics_pipeline.api.pages.frame.panels import Link, Panel, asset_page, chosen, in_turn
from analytics_pipeline.api.pages.frame.words import source, written
from analytics_pipeline.api.problems import Problem, told
from analytics_pipeline.api.stores import Scope
from analytics_pipeline.config import Settings

# Nothing from elsewhere, nothing written into the page itself.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
_PANELS = "<!-- panels -->"


@dataclass(frozen=True)
class Place:
    """An entry of the navigation, and for whom: `everything`, `organisation`, `account`.

    `asset` is what Dagster makes for this page.
    """

    name: str
    path: str
    scopes: tuple[str, ...] = ("everything",)
    asset: str = ""


_ALL = ("everything", "organisation", "account")
PLACES = (
    Place("Overview", "/", _ALL),
    Place("Segments", "/segments", ("everything", "organisation"), "segment_counts"),
    Place("Reporting", "/reporting", ("everything", "account"), "reporting_rollups"),
    Place("AI usage", "/ai-usage", asset="ai_usage_daily"),
    Place("Product events", "/product-events", ("everything", "organisation"), "daily_event_counts"),
    Place("Usage export", "/usage-export", asset="usage_export"),
    Place("Enablement", "/enablement", _ALL),
    Place("Tokens", "/tokens", _ALL),
)


def page(
    request: Request, title: str, panels: Sequence[Panel], *, lead: str = "", filters: str = "", **values: object
) -> Response:
    """A page of panels, or the one panel of it that an open page asks for again.

    `filters` names the template of the form above the panels, which shows the `values`.
    """
    one = chosen(panels, request.query_params)
    if one is not None:
        return HTMLResponse(_shown(one), headers=_headers())
    frame = _template("page.html").render(**_common(request), title=title, lead=lead, filters=filters, **values)
    return StreamingResponse(_streamed(frame, panels), media_type="text/html; charset=utf-8", headers=_headers())


def notice(request: Request, problem: Problem) -> Response:
    """A page that says what went wrong and what to do about it; the same whoever looks at it."""
    values = {**_common(request), "places": (), "title": problem.kind.title, "problem": problem}
    shown = _template("problem.html").render(values)
    return HTMLResponse(shown, problem.kind.status, headers={**_headers(), **problem.headers})


def form(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """A page without panels."""
    return HTMLResponse(_template(template).render(**_common(request), **values), status, headers=_headers())


def asset(name: str) -> Response:
    """The style, the script or the icon of the pages, of this installation."""
    kinds = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
    body = files(__package__).joinpath("static").joinpath(name).read_bytes()
    return Response(body, media_type=kinds[name], headers={"Cache-Control": "public, max-age=3600"})


def _streamed(frame: str, panels: Sequence[Panel]) -> Iterator[str]:
    above, _, below = frame.partition(_PANELS)
    yield above
    yield from in_turn(panels, _shown)
    yield below


def _shown(panel: Panel) -> str:
    """A panel as HTML. Whatever goes wrong with it is shown where the answer would be, and takes no other away."""
    template = _template("panel.html")
    try:
        return template.render(panel=panel, view=panel.ask(), problem=None)
    except Exception as error:  # noqa: BLE001 - told in its place
        return template.render(panel=panel, view=None, problem=told(error))


def _common(request: Request) -> Mapping[str, object]:
    scope: Scope | None = request.scope["state"].get("scope")
    shared = request.scope["state"].get("shared") is not None
    places = [place for place in PLACES if scope and not shared and _word(scope) in place.scopes]
    return {
        "places": places,
        "here": request.url.path,
        "asked": request.query_params,
        "signed_in": COOKIE in request.cookies and not shared,
        "shared": shared,
        "dagster": _dagster(service_of(request).connections.settings, request.url.path),
    }


def _dagster(settings: Settings, path: str) -> Link | None:
    """The link to what Dagster makes for the page, or to Dagster as a whole."""
    asset = next((place.asset for place in PLACES if place.path == path), "")
    address = asset_page(settings, asset) if asset else settings.dagster_ui_url
    return Link(f"{asset} in Dagster" if asset else "Open Dagster", address) if address else None


def _word(scope: Scope) -> str:
    if scope.is_everything:
        return "everything"
    return "account" if scope.organisation_id is None else "organisation"


def _headers() -> dict[str, str]:
    # Without a referrer a browser sends no origin with a form, and nobody could tell whose form it is.
    return {"Content-Security-Policy": POLICY, "Cache-Control": "private, no-store", "Referrer-Policy": "same-origin"}


def _template(name: str) -> Template:
    return _environment().get_template(name)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(written=written, source=source)
    environment.tests["link"] = lambda value: isinstance(value, Link)
    return environment
