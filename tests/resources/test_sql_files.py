"""Statements in files: read from the package, fragments put in, nothing missing and nothing left over."""

from pathlib import Path

import pytest

from analytics_pipeline.resources.sql_files import WrongFragments, sql_file


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that can be imported and has two statements."""
    name = "with_statements"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "plain.sql").write_text("SELECT '^a$', '{', '%' -- 1 é\n", "utf-8")
    (folder / "composed.sql").write_text("SELECT ${COLUMNS} FROM ${TABLE_2} WHERE ${COLUMNS} = {a:Int8} OR %(c)s\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_sql_file__without_places__is_the_text_as_it_stands(package: str) -> None:
    assert sql_file(package, "plain.sql") == "SELECT '^a$', '{', '%' -- 1 é\n"


def test_sql_file__fragments__stand_in_their_places_and_parameters_stay(package: str) -> None:
    composed = sql_file(package, "composed.sql", COLUMNS=r"a \1 ${TABLE_2}", TABLE_2="`t`")

    assert composed == r"SELECT a \1 ${TABLE_2} FROM `t` WHERE a \1 ${TABLE_2} = {a:Int8} OR %(c)s" + "\n"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"COLUMNS": "a"}, r"\['COLUMNS', 'TABLE_2'\], given were \['COLUMNS'\]"),
        ({"COLUMNS": "a", "TABLE_2": "t", "LEFT_OVER": "x"}, r"given were \['COLUMNS', 'LEFT_OVER', 'TABLE_2'\]"),
        ({}, r"given were \[\]"),
    ],
)
def test_sql_file__fragments_missing_or_left_over__are_refused(package: str, given: dict[str, str], named: str) -> None:
    with pytest.raises(WrongFragments, match=named):
        sql_file(package, "composed.sql", **given)


def test_sql_file__of_a_file_that_is_not_there__says_which(package: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.sql"):
        sql_file(package, "gone.sql")
