"""The distribution: small, quick to import, needs two libraries, keeps the rules of the repository."""

import ast
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import analytics_pipeline_sdk
from analytics_pipeline_sdk import VERSION

PACKAGE = Path(analytics_pipeline_sdk.__file__).parent
ROOT = Path(__file__).parents[1]
LARGEST_WHEEL, IMPORT_SECONDS = 100_000, 0.15
LONGEST_FILE, LONGEST_FUNCTION, FULLEST_FOLDER = 250, 30, 15
MAY_IMPORT = {"analytics_pipeline_sdk", "msgspec", "urllib3"}


def _trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name.partition(".")[0] for name in names)


def _lengths(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = node.body[0] if ast.get_docstring(node) is not None else None
            docstring = (told.end_lineno or 0) - told.lineno + 1 if told else 0
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_modules__import_the_standard_library_and_two_others() -> None:
    found = {name for tree in _trees().values() for name in _imported(tree)}

    assert found - {*sys.stdlib_module_names} == MAY_IMPORT


def test_files_and_functions__are_short() -> None:
    files = {name: len((PACKAGE / name).read_text().splitlines()) for name in _trees()}
    functions = {f"{name}:{one}": size for name, tree in _trees().items() for one, size in _lengths(tree)}
    folders = Counter(str(Path(name).parent) for name in files if not name.endswith("__init__.py"))

    assert {name: lines for name, lines in files.items() if lines > LONGEST_FILE} == {}
    assert {name: lines for name, lines in functions.items() if lines > LONGEST_FUNCTION} == {}
    assert {name: count for name, count in folders.items() if count > FULLEST_FOLDER} == {}


def test_docstrings__begin_with_their_subject() -> None:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for tree in _trees().values() for node in ast.walk(tree) if isinstance(node, kinds)]
    texts = [ast.get_docstring(node) or "" for node in nodes]

    assert [text for text in texts if re.match(r"(What|Which|Who|Whatever|Whoever|Whichever)\b", text)] == []


def test_import__takes_little_time_and_no_transport(python_path: dict[str, str]) -> None:
    program = """
import sys, time
began = time.process_time()
import analytics_pipeline_sdk
print(time.process_time() - began, "urllib3" in sys.modules, "asyncio" in sys.modules)
"""
    runs = [
        subprocess.run([sys.executable, "-c", program], env=python_path, capture_output=True, text=True, check=True)
        for _ in range(3)
    ]

    answers = [run.stdout.split() for run in runs]
    assert {tuple(answer[1:]) for answer in answers} == {("False", "False")}
    assert min(float(answer[0]) for answer in answers) <= IMPORT_SECONDS


def test_wheel__built_from_the_source__is_small_typed_and_complete(tmp_path: Path, python_path: dict[str, str]) -> None:
    program = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    copy = tmp_path / "source"
    subprocess.run(["cp", "-r", str(ROOT), str(copy)], check=True)
    environment = {**python_path, "PYTHONPATH": ""}
    build = [sys.executable, "-c", program, str(tmp_path)]
    subprocess.run(build, cwd=copy, env=environment, check=True, capture_output=True)

    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info" not in name}
        metadata = opened.read(next(name for name in opened.namelist() if name.endswith("METADATA"))).decode()
    modules = {str(path.relative_to(PACKAGE.parent)) for path in PACKAGE.rglob("*") if path.suffix in (".py", ".typed")}

    assert wheel.name == f"analytics_pipeline_sdk-{VERSION}-py3-none-any.whl"
    assert wheel.stat().st_size <= LARGEST_WHEEL
    assert names == modules
    assert {one.split(";")[0] for one in re.findall(r"Requires-Dist: ([a-z0-9]+)", metadata)} == {"msgspec", "urllib3"}


@pytest.mark.parametrize("number", range(3))
def test_readme__python_blocks__run(number: int, tmp_path: Path, python_path: dict[str, str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    environment = {**python_path, "XDG_STATE_HOME": str(tmp_path), "ANALYTICS_URL": "http://127.0.0.1:9"}

    program = [sys.executable, "-W", "error", "-c", blocks[number]]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, len(blocks)) == (0, 3), done.stderr
