"""A local server that answers Query with pages made beforehand: DynamoDB's wire format without DynamoDB's work.

moto answers about a thousand identities a second, which would hide the reader that is to be measured.
"""

import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.workload import ENVIRONMENTS, document, environment_key

DOCUMENTS_PER_PAGE = 1_750  # about the megabyte, as DynamoDB counts it, that it puts into a page


@contextmanager
def canned_dynamodb(identities: int) -> Iterator[str]:
    """Serve `identities` spread over the environments; yields the endpoint's URL."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(identities, sender), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        process.terminate()
        process.join(10)


def _pages(number: int, identities: int) -> list[bytes]:
    key = environment_key(number)
    pages: list[bytes] = []
    for start in range(0, identities, DOCUMENTS_PER_PAGE):
        end = min(start + DOCUMENTS_PER_PAGE, identities)
        page: dict[str, Any] = {"Items": [document(number * identities + n, key) for n in range(start, end)]}
        page["Count"] = page["ScannedCount"] = end - start
        if end < identities:
            page["LastEvaluatedKey"] = {"page": {"N": str(len(pages) + 1)}}
        pages.append(json.dumps(page).encode())
    return pages


def _serve(identities: int, ready: Connection) -> None:
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    pages = {environment_key(n): _pages(n, identities // ENVIRONMENTS) for n in range(ENVIRONMENTS)}

    async def query(request: Request) -> Response:
        asked = json.loads(await request.body())
        (value,) = asked["ExpressionAttributeValues"].values()
        key = value["S"] if isinstance(value, dict) else value
        start = asked.get("ExclusiveStartKey", {"page": {"N": "0"}})["page"]["N"]
        return Response(pages[key][int(start)], media_type="application/x-amz-json-1.0")

    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/", query, methods=["POST"])])
    ready.send(listener.getsockname()[1])
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
