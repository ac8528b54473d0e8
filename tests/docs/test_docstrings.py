"""Docstrings begin with their subject: a reader should not have to finish a sentence to learn what it is about."""

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

# The layers that have been read for this. A module that is read next joins them.
READ = ("assets", "checks", "orchestration", "schedules", "sensors", "definitions.py")
_SUBJECTLESS = re.compile(r"(What|Whatever|Which|Whichever|Who|Whoever)\b")


def _docstrings() -> Iterator[tuple[str, str]]:
    """Each docstring of the layers, with its file."""
    for layer in READ:
        path = ROOT / "analytics_pipeline" / layer
        for file in [path] if path.is_file() else sorted(path.glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    yield file.name, ast.get_docstring(node) or ""


def test_docstrings__of_what_dagster_sees__begin_with_their_subject() -> None:
    found = list(_docstrings())

    assert [(file, text) for file, text in found if _SUBJECTLESS.match(text)] == []
    assert len([text for _, text in found if text]) > 80
