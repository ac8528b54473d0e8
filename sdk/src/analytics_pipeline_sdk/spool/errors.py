"""Failures of the spool."""


class SpoolFull(Exception):
    """The directory holds as many bytes as it may."""
