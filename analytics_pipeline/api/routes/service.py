"""The kinds of problems, which the `type` of each error names."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from analytics_pipeline.api.problems import KINDS, documented, not_found

ROUTER = APIRouter(tags=["service"])


class ProblemKind(BaseModel):
    """A kind of problem and what to do about it."""

    type: str = Field(examples=["/problems/not-found"])
    status: int = Field(examples=[404])
    title: str = Field(examples=["Not found"])
    repair: str = Field(examples=["Check the path."])


@ROUTER.get("/health", responses=documented(413))
def health() -> dict[str, str]:
    """Whether the process answers. It asks no store."""
    return {"status": "ok"}


@ROUTER.get("/problems", responses=documented(413))
def problems() -> list[ProblemKind]:
    """All kinds of problems."""
    return [
        ProblemKind(type=f"/problems/{kind.slug}", status=kind.status, title=kind.title, repair=kind.repair)
        for kind in KINDS
    ]


@ROUTER.get("/problems/{slug}", responses=documented(400, 404, 413, 422))
def problem(slug: str) -> ProblemKind:
    """One kind of problem, by the last part of the `type` of an error."""
    found = next((kind for kind in problems() if kind.type == f"/problems/{slug}"), None)
    if found is None:
        raise not_found()
    return found
