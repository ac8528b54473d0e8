"""Where engines live that nobody keeps, those of tests and benchmarks."""

import os
import shutil
import tempfile
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 # directories of their own are made there


def throwaway_directory(room_bytes: int) -> Path:
    """In memory where there is that much room: they drop many tables, and ext4 is slow to reuse what was dropped."""
    if os.access(_SHARED_MEMORY, os.W_OK) and shutil.disk_usage(_SHARED_MEMORY).free > room_bytes:
        return _SHARED_MEMORY
    return Path(tempfile.gettempdir())


def throwaway_directories() -> tuple[Path, ...]:
    """All that `throwaway_directory` may answer, for who looks for leftovers."""
    return (_SHARED_MEMORY, Path(tempfile.gettempdir()))
