"""Where files and objects are kept: a directory of this machine, private to its owner, or a bucket in S3."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import boto3
import obstore
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import LocalStore, S3Store

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

# Of S3, from the first byte of a request to the last of its answer, which is cut off however it trickles in; and how
# long requests that break are begun again.
CONNECT_SECONDS, ANSWER_SECONDS, RETRY_SECONDS = 10, 30, 120


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket with a prefix, for services that write and read it themselves."""

    name: str
    prefix: str
    endpoint: str
    session: boto3.Session

    def key(self, path: str) -> str:
        """The object key of a path below the prefix."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def url(self, path: str) -> str:
        """The path-style URL of a path below the prefix."""
        return f"{self.endpoint}/{self.name}/{self.key(path)}"


def bucket_of(url: str) -> Bucket:
    """The bucket of `s3://bucket/prefix`; endpoint and credentials come from the standard AWS environment."""
    parts = urlsplit(url)
    session = boto3.Session()
    endpoint = session.client("s3").meta.endpoint_url
    return Bucket(parts.netloc, parts.path.strip("/"), endpoint.rstrip("/"), session)


def s3_store(bucket: Bucket, retries: "RetryConfig | None" = None) -> "ObjectStore":
    """The bucket's objects. `retries` are those of one request; without any it is begun again for two minutes."""
    session, endpoint = bucket.session, bucket.endpoint
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        region=session.region_name or "us-east-1",  # boto3's own default for S3
        endpoint=None if endpoint.endswith(".amazonaws.com") else endpoint,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=ANSWER_SECONDS),
        },
        retry_config=retries or {"retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        credential_provider=Boto3CredentialProvider(session),
    )


def impatient() -> "RetryConfig":
    """Few retries in little time, for whoever waits by itself."""
    return {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}


def directory_of(url: str) -> Path:
    """The directory of `file:///directory`."""
    return Path(unquote(urlsplit(url).path))


def local_store(root: Path) -> LocalStore:
    """The directory's files; it is made when it is not there.

    Raises:
        OSError: it is no directory, and none can be made there.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LocalStore(root)


def refusal_of(root: Path, error: OSError) -> str:
    """Why there is no store in the directory, in a few words."""
    return "a file is in its place" if root.is_file() else error.strerror or type(error).__name__


def put_private(store: "ObjectStore", path: str, content: bytes) -> None:
    """Write in one atomic put; on a local disk for the owner alone, where the store would write it for everybody."""
    make_private_directory(store, path.rpartition("/")[0])
    obstore.put(store, path, content)
    make_private(store, path)


def make_private_directory(store: "ObjectStore", path: str) -> None:
    """On a local disk, a directory that its owner alone may enter."""
    if isinstance(store, LocalStore) and store.prefix:
        directory = Path(store.prefix)
        for part in path.split("/"):
            directory /= part
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_private(store: "ObjectStore", path: str) -> None:
    """On a local disk, a file that its owner alone may read."""
    if isinstance(store, LocalStore) and store.prefix:
        (Path(store.prefix) / path).chmod(0o600)


def settle(store: "ObjectStore", paths: Iterable[str]) -> None:
    """On a local disk, wait until the files and their names would survive a loss of power."""
    if isinstance(store, LocalStore) and store.prefix:
        files = [Path(store.prefix) / path for path in paths]
        for path in [*files, *{file.parent for file in files}]:
            _synchronise(path)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
