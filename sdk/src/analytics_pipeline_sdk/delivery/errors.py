"""Failures inside the SDK; none of them reaches whoever calls track()."""


class Refused(Exception):
    """The event is not accepted; the text is the reason under which it is counted."""

    @property
    def reason(self) -> str:
        return str(self)
