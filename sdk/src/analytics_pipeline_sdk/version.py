"""The version of this distribution; every batch carries it."""

VERSION = "0.1.0"
