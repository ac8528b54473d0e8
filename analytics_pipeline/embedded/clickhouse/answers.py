"""Turns what the engine returns into an answer: streamed, spooled until the query's end, or at once."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import fields
from itertools import chain
from tempfile import SpooledTemporaryFile

from analytics_pipeline.embedded.clickhouse.arrow import join_arrow_streams
from analytics_pipeline.embedded.clickhouse.handle import Block, Handle, Stats
from analytics_pipeline.embedded.clickhouse.reply import Reply
from analytics_pipeline.embedded.clickhouse.request import Request
from analytics_pipeline.embedded.clickhouse.sql import Statement

_SPOOL_BYTES = 16 * 1024 * 1024
_COPY_BYTES = 1024 * 1024


def select(request: Request, statement: Statement, handle: Handle, reply: Reply) -> None:
    """Answers a statement that reads: block by block where chDB can."""
    fmt = statement.format or request.format
    if not statement.streams_as(fmt):
        answer(request, statement, handle, reply)
        return
    with closing(_blocks(request, statement, fmt, handle)) as blocks:
        send = _send_spooled if request.waits_for_end else _send_streamed
        send(request, fmt, blocks, reply)


def _blocks(request: Request, statement: Statement, fmt: str, handle: Handle) -> Generator[Block, None, None]:
    """Yields the answer; an empty one may still have a schema, which chDB's streams leave out."""
    empty = True
    with closing(handle.stream(statement.text, fmt, request.parameters())) as blocks:
        for block in blocks:
            empty = False
            yield block
    if empty:
        yield handle.query(statement.text, fmt, request.parameters())


def _send_streamed(request: Request, fmt: str, blocks: Iterator[Block], reply: Reply) -> None:
    first = next(blocks)
    chunks = _joined(fmt, (block.data for block in chain((first,), blocks)))
    reply.succeed(fmt, first.stats, chunks, request.accept_encoding)


def _send_spooled(request: Request, fmt: str, blocks: Iterator[Block], reply: Reply) -> None:
    total = Stats()
    with SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        for block in blocks:
            total = _sum(total, block.stats)
            spool.write(block.data)
        spool.seek(0)
        reply.succeed(fmt, total, iter(lambda: spool.read(_COPY_BYTES), b""), request.accept_encoding)


def answer(request: Request, statement: Statement, handle: Handle, reply: Reply) -> None:
    """Answers with the whole result at once."""
    fmt = statement.format or request.format
    block = handle.query(statement.text, fmt, request.parameters())
    reply.succeed(fmt, block.stats, (block.data,), request.accept_encoding)


def command(request: Request, statement: Statement, handle: Handle, reply: Reply) -> None:
    """Runs a statement that may answer nothing; a client tells by the missing format."""
    fmt = statement.format or request.format
    block = handle.query(statement.text, fmt, request.parameters())
    reply.succeed(fmt if block.data else None, block.stats, (block.data,), request.accept_encoding)


def _joined(fmt: str, chunks: Iterable[bytes]) -> Iterable[bytes]:
    return join_arrow_streams(chunks) if fmt.lower() == "arrowstream" else chunks


def _sum(one: Stats, other: Stats) -> Stats:
    return Stats(*(getattr(one, f.name) + getattr(other, f.name) for f in fields(Stats)))
