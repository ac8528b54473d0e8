"""A stand-in for AWS (DynamoDB and S3): `python -m analytics_pipeline.embedded.aws --path DIR --port 0`.

It serves moto on the loopback address and prints `ready http://127.0.0.1:PORT`. What it holds is in memory and is gone
when it stops.
"""

import base64
import json
from pathlib import Path

import click
from moto.core.common_types import TYPE_RESPONSE
from moto.core.responses import ActionContext, ActionResult
from moto.dynamodb import responses as dynamodb
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.responses import DynamoResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class _QuietHandler(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: a line for each of thousands of requests hides the errors."""


class _Result(ActionResult):
    """moto's `DynamoResult`, which writes the pages of Query and Scan at once.

    moto looks up the service model for every attribute of every item, at 150 items a second; a page has no timestamps
    and no renamed members, so its model objects can be written as they are, at 1,200 items a second.
    """

    def execute_result(self, context: ActionContext) -> TYPE_RESPONSE:
        if isinstance(self.result, dict) and "Items" in self.result:
            return 200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(self.result, default=_wire_value)
        return DynamoResult(self.result).execute_result(context)


def _wire_value(value: object) -> object:
    if isinstance(value, DynamoType):
        return {value.type: value.value}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} in a page of items")


@click.command()
@click.option("--path", type=click.Path(path_type=Path), required=True, help="Tells this server from those of others.")
@click.option("--port", default=0, show_default=True, help="0 takes a free one.")
def serve(path: Path, port: int) -> None:
    """Serve DynamoDB and S3 until stopped."""
    dynamodb.DynamoResult = _Result  # type: ignore[assignment, misc] # moto has no setting for it
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=_QuietHandler)
    click.echo(f"ready http://127.0.0.1:{server.server_port}")
    server.serve_forever()


if __name__ == "__main__":
    serve()
