"""Docstrings begin with their subject: a reader should not have to finish a sentence to learn what it is about."""

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

_SUBJECTLESS = re.compile(r"(What|Whatever|Which|Whichever|Who|Whoever)\b")


def _docstrings() -> Iterator[tuple[str, str]]:
    """Each docstring of the package, with its file."""
    for file in sorted((ROOT / "analytics_pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield str(file.relative_to(ROOT)), ast.get_docstring(node) or ""


def test_docstrings__of_the_package__begin_with_their_subject() -> None:
    found = list(_docstrings())

    assert [(file, text) for file, text in found if _SUBJECTLESS.match(text)] == []
    assert len([text for _, text in found if text]) > 800
