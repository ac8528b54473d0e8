"""The pages of the documentation, and what stands in their fences.

What a fence is decides what a test does with it: `sql clickhouse` and `sql postgres` are run statement by statement,
`bash` is run as a script, `python` is executed, `yaml` is validated as a run's configuration. A block that nothing here
can run has a comment above it, which tells a reader of the page's source the same: `<!-- not run: why -->`. A block
under a line such as `` `path`: `` is that file of the worked example.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import analytics_pipeline

ROOT = Path(analytics_pipeline.__file__).parent.parent
# Pictures and listings: nothing to run.
SHOWN = ("mermaid", "text")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")
_FILE = re.compile(r"`([^`\s]+/[^`\s]+)`:")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, what it is, and why it is not run or which example file it shows, if so."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None
    file: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, str]:
    """Every page by its path in the repository; decisions tell of the past and are left out."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def blocks(*languages: str) -> list[Block]:
    """The blocks in these languages, or all."""
    found = [block for page, text in pages().items() for block in blocks_of(page, text)]
    return [block for block in found if not languages or block.language in languages]


def blocks_of(page: str, text: str) -> Iterator[Block]:
    for match in _FENCE.finditer(text):
        above = (text[: match.start()].rstrip().splitlines() or [""])[-1].strip()
        not_run, file = _NOT_RUN.fullmatch(above), _FILE.fullmatch(above)
        yield Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"],
            text=re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE),
            not_run=not_run and not_run[1],
            file=file and file[1],
        )


def to_run(*languages: str) -> list[Block]:
    """The blocks in these languages that a test runs."""
    return [block for block in blocks(*languages) if block.not_run is None and block.file is None]


def statements(block: Block) -> list[str]:
    """The block's SQL statements, each with the comments above it."""
    found = re.split(r";[ \t]*(?:--[^\n]*)?$", block.text, flags=re.MULTILINE)
    return [statement.strip() for statement in found if re.sub(r"--[^\n]*", "", statement).strip()]


def inline_code() -> Iterator[tuple[str, str]]:
    """What stands in single backticks, with its page."""
    for page, text in pages().items():
        yield from ((page, " ".join(found.split())) for found in re.findall(r"`([^`]+)`", _FENCE.sub("", text)))
