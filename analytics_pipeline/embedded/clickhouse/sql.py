"""As much of ClickHouse's grammar as the server needs: what a statement is, and where its data begins."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_TOKEN = re.compile(
    rb"""
    (?P<space>\s+|--[^\n]*|\#[\ !][^\n]*|/\*.*?\*/)
  | (?P<quoted>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*`)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<other>/\*|[^\s'"`A-Za-z_()/\#-]+|.)
    """,
    re.DOTALL | re.VERBOSE,
)
_UNFINISHED = (b"'", b'"', b"`", b"/*")
_AFTER_FORMAT = re.compile(rb"[ \t]*(?:\r?\n)?")

# Formats whose chunks chDB can produce one by one and that need no header, separator or footer around them.
_STREAMED = frozenset(
    {
        "native",
        "rowbinary",
        "tabseparated",
        "tsv",
        "tabseparatedraw",
        "tsvraw",
        "csv",
        "jsoneachrow",
        "jsonlines",
        "ndjson",
        "jsoncompacteachrow",
        "jsonstringseachrow",
        "jsoncompactstringseachrow",
        "arrowstream",
    }
)
# A statement of these classes runs as a streaming query; chDB answers SHOW, DESCRIBE or EXPLAIN only at once.
SELECT_KEYWORDS = frozenset({"SELECT", "WITH", "FROM", "("})


@dataclass(frozen=True)
class Statement:
    """A statement without data: its text, its first keyword and the output format it asks for."""

    text: bytes
    keyword: str
    format: str | None
    has_totals: bool

    def streams_as(self, fmt: str) -> bool:
        """Tells whether the answer can be sent block by block; chDB drops the totals of a stream."""
        return self.keyword in SELECT_KEYWORDS and not self.has_totals and fmt.lower() in _STREAMED


@dataclass(frozen=True)
class InsertHead:
    """An INSERT whose rows follow it: the statement up to FORMAT or VALUES, the format, where the rows begin."""

    text: bytes
    format: str
    data_start: int


@dataclass(frozen=True)
class _Token:
    word: bytes
    start: int
    end: int


def parse_statement(sql: bytes) -> Statement:
    """Returns what the server must know about a whole statement."""
    tokens = list(_top_level(sql))
    fmt = None
    for keyword, name in pairwise(tokens):
        if keyword.word == b"FORMAT" and name.word:
            fmt = sql[name.start : name.end].decode()
    first = tokens[0].word.decode() if tokens else ""
    totals = any(token.word == b"TOTALS" for token in tokens)
    return Statement(sql, first, fmt, totals)


def starts_with_insert(sql: bytes) -> bool:
    """Tells whether the first keyword is INSERT; a leading comment does not hide it."""
    first = next(_top_level(sql), None)
    return first is not None and first.word == b"INSERT"


def parse_insert(sql: bytes, *, complete: bool) -> InsertHead | None:
    """Returns the head of an INSERT with rows, or None when there is none (yet, unless `complete`)."""
    target_seen = False
    tokens = _top_level(sql)
    for token in tokens:
        if token.word in (b"INSERT", b"INTO", b"TABLE", b"FUNCTION") and not target_seen:
            continue
        if not target_seen:
            target_seen = True  # A table may be called `values` or `format`.
        elif token.word in (b"SELECT", b"WITH"):
            return None
        elif token.word == b"VALUES":
            return _head(sql, token, "Values", token.end)
        elif token.word == b"FORMAT":
            return _formatted_head(sql, token, next(tokens, None), complete=complete)
    return None


def _formatted_head(sql: bytes, keyword: _Token, name: _Token | None, *, complete: bool) -> InsertHead | None:
    if name is None or not name.word:
        return None
    after = _AFTER_FORMAT.match(sql, name.end)
    start = after.end() if after else name.end
    if start == len(sql) and not complete:
        return None  # The name, or the newline that ends the head, may go on in the next chunk.
    return _head(sql, keyword, sql[name.start : name.end].decode(), start)


def _head(sql: bytes, keyword: _Token, fmt: str, data_start: int) -> InsertHead:
    return InsertHead(sql[: keyword.start].strip(), fmt, data_start)


def _top_level(sql: bytes) -> Iterator[_Token]:
    """Yields the tokens outside parentheses; stops at a quote or comment that is not closed."""
    depth = 0
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            continue
        if text in _UNFINISHED:
            return
        if depth == 0 and text != b")":
            word = text.upper() if kind == "word" or text == b"(" else b""
            yield _Token(word, match.start(), match.end())
        depth = max(0, depth + (text == b"(") - (text == b")"))
