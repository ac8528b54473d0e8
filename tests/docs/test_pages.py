"""The documentation as text: every block is accounted for, every name in it exists."""

import re
from collections.abc import Iterator

import click
import pytest

from analytics_pipeline import secret_files
from analytics_pipeline.cli import main
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG
from tests.docs.example import EXAMPLE
from tests.docs.pages import ROOT, SHOWN, Block, blocks, blocks_of, inline_code, pages

RUN = ("bash", "python", "sql clickhouse", "sql postgres", "yaml")
# Of the tests, and of deploy/compose.
OTHER_VARIABLES = {"ANALYTICS_TEST_DATA", "ANALYTICS_IMAGE"}
QUOTED = ("diff", "python", "sql")

PAGE = """
Words.

```sql clickhouse
SELECT 1;
```

   `some/file.py`:

   ```python
   pass
       pass
   ```

<!-- not run: needs a cluster -->
```bash
true
```
"""


def test_blocks__of_a_page__are_found_with_what_stands_above_them() -> None:
    assert list(blocks_of("page", PAGE)) == [
        Block("page", 4, "sql clickhouse", "SELECT 1;\n", None, None),
        Block("page", 10, "python", "pass\n    pass\n", None, "some/file.py"),
        Block("page", 16, "bash", "true\n", "needs a cluster", None),
    ]


def test_blocks__of_every_page__are_run_shown_or_say_why_not() -> None:
    unaccounted = [
        f"{block} {block.language or 'without a language'}"
        for block in blocks()
        if block.language not in (QUOTED if block.file else (*RUN, *SHOWN))
        or (block.not_run and block.language not in RUN)
    ]

    assert unaccounted == []
    assert len(blocks(*RUN)) > 20


def test_sql__of_more_than_a_word__stands_in_a_fence_where_it_is_run() -> None:
    statement = re.compile(r"(ALTER|CREATE|DELETE|DROP|GRANT|INSERT|SELECT|UPDATE) .* ")

    assert [f"{page}: {code}" for page, code in inline_code() if statement.match(code)] == []


def _commands() -> Iterator[tuple[str, str]]:
    """Every use of our command, in fences, in words and in the texts of the program, with its place."""
    for page, text in pages().items():
        yield from ((page, found) for found in _used(text))
    for path in (ROOT / "analytics_pipeline").rglob("*.py"):
        yield from ((path.relative_to(ROOT).as_posix(), found) for found in _used(path.read_text()))


def _used(text: str) -> list[str]:
    return re.findall(r"(?<![\w/.-])analytics-pipeline((?: -{0,2}[a-z][\w:-]*)+)", text)


def _unknown(words: list[str]) -> str | None:
    """The first word that is no command of ours or no option of the command before it."""
    command: click.Command = main
    for word in words:
        if word.startswith("-"):
            options = {option for parameter in command.params for option in parameter.opts}
            if word not in options | {"--help", "--version"}:
                return word
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return word
            command = found
    return None


def test_commands__that_pages_and_messages_name__exist_with_their_options() -> None:
    used = {(place, text) for place, text in _commands() if text.split()[0] not in ("is", "as")}
    unknown = sorted(f"{place}: analytics-pipeline{text}" for place, text in used if _unknown(text.split()))

    assert unknown == []
    assert len(used) > 30


@pytest.mark.parametrize(
    ("used", "unknown"),
    [("migrate all", None), ("migrate everything", "everything"), ("enablement reset ai_usage --no", "--no")],
)
def test_command__unknown_word__is_noticed(used: str, unknown: str | None) -> None:
    assert _unknown(used.split()) == unknown


def test_make_targets__that_pages_name__exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {found for text in pages().values() for found in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)}

    assert named - targets == set()
    assert len(named) > 5


def _anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links__within_the_repository__lead_somewhere() -> None:
    broken = []
    for page, text in pages().items():
        for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", text):
            path = (ROOT / page).parent / target if target else ROOT / page
            if not path.exists() or (anchor and anchor not in _anchors(path.read_text())):
                broken.append(f"{page}: {target}#{anchor}")

    assert broken == []


_PLACES = (ROOT, ROOT / "analytics_pipeline", ROOT / "docs", EXAMPLE)
_FOLDERS = {path.name for place in _PLACES for path in place.iterdir() if path.is_dir()}


def _is_path(code: str) -> bool:
    """Whether the code is meant as a path of the repository: by its first folder or by how it ends."""
    return bool(re.fullmatch(r"[\w./-]+\.(?:py|sql|md|toml|lock)|[\w./-]+/[\w./-]*", code)) and (
        "/" not in code or code.partition("/")[0] in _FOLDERS
    )


def _exists(path: str) -> bool:
    folders = [ROOT / "analytics_pipeline", ROOT / "tests", ROOT / "docs"]
    is_name = "/" not in path and any(next(folder.rglob(path), None) for folder in folders)
    return is_name or any((place / path).exists() for place in _PLACES)


def test_paths__that_pages_name__exist() -> None:
    # The tag of runs looks like a path.
    named = {(page, code) for page, code in inline_code() if _is_path(code) and code != ATTEMPT_TAG}

    assert sorted(f"{page}: {path}" for page, path in named if not _exists(path)) == []
    assert len(named) > 40


def test_variables__that_pages_name__are_in_the_example_of_settings() -> None:
    example = re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    known = {*example, *(name.upper() for name in Settings.model_fields)}
    known |= {f"{name}{secret_files.SUFFIX}" for name in secret_files.VARIABLES}
    # By their first word: the names of other systems are none of ours.
    ours = "|".join({name.partition("_")[0] for name in known})
    named = {
        (page, found[0])
        for page, code in inline_code()
        if (found := re.match(rf"({ours})_[A-Z0-9_]*[A-Z0-9](?==|$)", code)) and found[0] not in OTHER_VARIABLES
    }

    assert sorted(f"{page}: {name}" for page, name in named if name not in known) == []
    assert len(named) > 20
