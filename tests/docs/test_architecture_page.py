"""The walks of docs/architecture.md lead through files and functions that exist."""

import ast
import re

from tests.docs.pages import ROOT, pages

_STEP = re.compile(r"^\| (\d+) \| `([^`]+)` \| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def _defined(path: str) -> set[str]:
    """The functions and methods of the file, by their names with that of their class."""
    tree = ast.parse((ROOT / path).read_text())
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


def _walks() -> list[list[tuple[str, str, str, str]]]:
    """The steps of each walk: number, file, function, what happens."""
    sections = pages()["docs/architecture.md"].split("\n## ")
    return [steps for section in sections if (steps := _STEP.findall(section))]


def test_walks__step_by_step__are_four_and_numbered() -> None:
    numbers = [[int(number) for number, *_ in walk] for walk in _walks()]

    assert numbers == [list(range(1, len(walk) + 1)) for walk in numbers]
    assert len(numbers) == 4


def test_walks__every_step__is_a_function_of_a_file_that_exists() -> None:
    steps = [(path, function) for walk in _walks() for _, path, function, _ in walk]

    assert [step for step in steps if not (ROOT / step[0]).is_file() or step[1] not in _defined(step[0])] == []


def test_words__that_mean_something_special__are_fifteen_in_order() -> None:
    words = re.findall(
        r"^\| ([a-z ]+) \| .+ \|$", pages()["docs/architecture.md"].partition("## Fifteen words")[2], re.M
    )

    assert words == sorted(set(words))
    assert len(words) == 15
