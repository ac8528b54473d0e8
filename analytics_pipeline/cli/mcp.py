"""`analytics-pipeline mcp`: the read API for assistants."""

import click

from analytics_pipeline.config import Settings


@click.command()
@click.option(
    "--token",
    envvar="ANALYTICS_READ_TOKEN",
    show_envvar=True,
    required=True,
    help="Token of scope `read`. Others on this machine see command lines: set the variable instead.",
)
def mcp(token: str) -> None:
    """Let an assistant read what the pipeline computes, by the Model Context Protocol over standard input and output.

    An assistant's configuration names this command with the variables of your stores and of the token, which bounds
    what it sees: analytics-pipeline token create everything --scope read. See docs/assistants.md.
    """
    try:
        from analytics_pipeline.api.mcp import serve
    except ModuleNotFoundError as error:
        if error.name not in ("mcp", "httpx2"):
            raise
        raise click.ClickException(
            "The protocol's SDK is not installed here: pip install 'analytics-pipeline[assistants]'"
        ) from error
    import anyio

    anyio.run(serve, Settings.load(), token)
