"""The worked example of CONTRIBUTING: files that the page quotes and that a test adds to a copy of the repository.

`docs/example/environment_sizes` mirrors the repository. A file `x.diff` there is a change of the file `x`: each hunk is
lines that stay, go and come. After a change of the example, `python -m tests.docs.example` renews the
quotes.
"""

import re
import shutil
from pathlib import Path

from tests.docs.pages import ROOT

EXAMPLE = ROOT / "docs/example/environment_sizes"
PAGE = ROOT / "CONTRIBUTING.md"
_COPIED = ("analytics_pipeline", "tests", "pyproject.toml", "dagster.yaml", "workspace.yaml", ".env.example")
_QUOTE = re.compile(r"(?<=^`)(?P<path>[^`\s]+/[^`\s]+)(?P<fence>`:\n\n```\w+\n)(?P<text>.*?)(?=^```$)", re.M | re.S)


def files() -> dict[str, str]:
    """The example's files by their path in the repository, as the page names them."""
    paths = sorted(path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".sql", ".diff"))
    return {path.relative_to(EXAMPLE).as_posix().removesuffix(".diff"): path.read_text() for path in paths}


def quotes(page: str) -> dict[str, str]:
    """What the page shows of each file."""
    return {match["path"]: match["text"] for match in _QUOTE.finditer(page)}


def renewed(page: str) -> str:
    """The page with its quotes as the files are now."""
    return _QUOTE.sub(lambda match: match["path"] + match["fence"] + files()[match["path"]], page)


def add_to_copy(directory: Path) -> None:
    """Copy the repository there and add the example to it, with the numbers that its migrations get today."""
    for name in _COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, directory / name)
    changed = {path.relative_to(EXAMPLE).with_suffix("").as_posix() for path in EXAMPLE.rglob("*.diff")}
    for path, text in files().items():
        target = directory / _numbered(path, directory)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(patched(target.read_text(), text) if path in changed else _numbered(text, directory, path))


def patched(text: str, diff: str) -> str:
    """The text with each hunk's lines exchanged. Those that stay or go have to stand there exactly once."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        assert text.count(before) == 1, f"stands there {text.count(before)} times:\n{before}"
        text = text.replace(before, "".join(line[1:] for line in lines if line[0] in " +"))
    return text


def _numbered(text: str, directory: Path, path: str | None = None) -> str:
    """`NNN` and `NNNN` become the next free number of the folder that the file is in, `MMMM` the one before it."""
    folder = (directory / (path or text)).parent
    taken = [int(found[0]) for one in folder.glob("*") if (found := re.match(r"\d+(?=_)", one.name))]
    last = max(taken, default=0)
    return text.replace("NNNN", f"{last + 1:04d}").replace("MMMM", f"{last:04d}").replace("NNN", f"{last + 1:03d}")


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
