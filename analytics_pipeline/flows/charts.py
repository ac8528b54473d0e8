"""Charts that fit into a line of text."""

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(counts: Sequence[int | None]) -> str:
    """One bar a day, scaled to the largest; a day without an answer is a gap."""
    top = max((count for count in counts if count is not None), default=0)
    return "".join(" " if count is None else _BARS[count * (len(_BARS) - 1) // top if top else 0] for count in counts)
