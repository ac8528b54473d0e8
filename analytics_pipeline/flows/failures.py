"""What a flow raises when some units of its work failed and the others were done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """One unit that failed, e.g. an environment, and why. `reason` shows no secrets."""

    unit: str
    reason: str


class PartialFailure(Exception):
    """Some units failed. Each kept what it had before; the others were completed.

    `failures` lists them, `repair` is the command that does only what is missing.
    """

    def __init__(self, what: str, failures: list[Failure], done: int, repair: str) -> None:
        self.failures = failures
        self.repair = repair
        lines = [f"  {failure.unit}: {failure.reason}" for failure in failures[:20]]
        more = [f"  … and {len(failures) - 20} more"] if len(failures) > 20 else []
        super().__init__(
            "\n".join(
                [
                    f"{what}: {len(failures)} failed and kept what they had before, {done} were done.",
                    *lines,
                    *more,
                    f"Repair: {repair}",
                ]
            )
        )


def reason_of(error: Exception) -> str:
    """One line that names the error, without what only a debugger needs."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__
