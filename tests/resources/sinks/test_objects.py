"""The sinks of files and of S3: a batch is what its manifest names, and a retry leaves nothing twice."""

import hashlib
import os
import stat
import subprocess
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import obstore
import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.landing_units import CorruptUnit
from analytics_pipeline.resources.object_stores import bucket_of, directory_of, local_store, put_private, s3_store
from analytics_pipeline.resources.sinks import objects as module
from analytics_pipeline.resources.sinks.base import Sink, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.objects import lines_by_day, lines_of, manifests
from analytics_pipeline.resources.sinks.registry import open_sink
from tests.resources.receiver import Receiver, Reply, receiving
from tests.resources.sinks.records import ASKS, batch, batch_of, events, record

SECRET = "AKIAS3CRETS3CRETS3CR"
MANIFEST = "manifests/00000000000000000001-00000000000000000004.json"


def _opened(url: str) -> Sink:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPORT_SINKS", f"archive={url}")
        settings = Settings.load()
    return open_sink(settings.sinks[0], settings)


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, environment: Mapping[str, str], tmp_path: Path) -> str:
    if request.param == "file":
        return (tmp_path / "exports").as_uri()
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return f"s3://{name}/deep/prefix"


def _store(url: str) -> Any:
    return local_store(directory_of(url)) if url.startswith("file:") else s3_store(bucket_of(url))


def _objects(url: str) -> list[str]:
    return sorted(entry["path"] for part in obstore.list(_store(url)) for entry in part)


def _delivered(url: str) -> list[int]:
    """The ids that a reader finds, repeats and all."""
    store = _store(url)
    found = [events(lines) for _, manifest in manifests(store) for lines in lines_of(store, manifest)]
    return [one["event_log_id"] for part in found for one in part]


def test_send__batch_over_midnight__is_a_file_for_each_day_and_one_manifest(url: str) -> None:
    sent = batch(1, 4, timedelta(seconds=20))

    delivery = _opened(url).send(sent)

    files = ["day=2026-05-01/1-4.ndjson.zst", "day=2026-05-02/1-4.ndjson.zst"]
    assert _objects(url) == [*(f"events/{name}" for name in files), MANIFEST]
    store = _store(url)
    ((name, manifest),) = manifests(store)
    assert f"manifests/{name}" == MANIFEST
    assert [(file.name, file.rows) for file in manifest.files] == [(files[0], 3), (files[1], 1)]
    assert manifest.about == {"first_id": 1, "last_id": 4, "sha256": hashlib.sha256(sent.lines).hexdigest()}
    assert (manifest.format, delivery.sent_bytes, delivery.refused) == ("usage-events/1", manifest.bytes, ())
    assert b"".join(lines_of(store, manifest)) == sent.lines


def test_send__again__the_same_keys_with_the_same_content(url: str) -> None:
    sink, sent = _opened(url), batch(1, 4, timedelta(seconds=20))
    sink.send(sent)
    before = _objects(url)

    sink.send(sent)
    _opened(url).send(sent)

    assert (_objects(url), _delivered(url)) == (before, [1, 2, 3, 4])


def test_send__killed_before_the_manifest__nothing_was_delivered_and_the_retry_is_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, sent = _opened(url), batch(1, 4, timedelta(seconds=20))
    put = put_private

    def dying(store: Any, path: str, content: bytes) -> None:
        if path.startswith("manifests/"):
            raise KeyboardInterrupt
        put(store, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(module, "put_private", dying)
        with pytest.raises(KeyboardInterrupt):
            sink.send(sent)
    assert (len(_objects(url)), _delivered(url)) == (2, [])

    sink.send(sent)

    assert (len(_objects(url)), _delivered(url)) == (3, [1, 2, 3, 4])


def test_send__killed_and_then_cut_otherwise__a_reader_takes_what_manifests_name(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = _opened(url)
    with monkeypatch.context() as patch:
        patch.setattr(module, "settle", _dies)
        with pytest.raises(KeyboardInterrupt):
            sink.send(batch(1, 4))

    sink.send(batch(1, 2))
    sink.send(batch(3, 4))

    assert _delivered(url) == [1, 2, 3, 4]


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_send__other_records_between_the_same_ids__take_another_place_and_remove_nothing(url: str) -> None:
    sink = _opened(url)
    sink.send(batch(1, 4))
    fewer = batch_of([record(1), record(4)])

    sink.send(fewer)
    sink.send(fewer)

    assert _delivered(url) == [1, 4, 1, 2, 3, 4] or _delivered(url) == [1, 2, 3, 4, 1, 4]
    assert len(_objects(url)) == 4


def test_send__synthetic__no_reader_takes_it(url: str) -> None:
    _opened(url).send(batch_of([record(1)], is_synthetic=True))

    assert _delivered(url) == []
    assert [path.partition("/")[0] for path in _objects(url)] == ["tests", "tests"]


def test_manifests__after_one__are_those_that_came_later_in_the_order_of_ids(url: str) -> None:
    sink = _opened(url)
    for first in (1, 9, 100, 1000):
        sink.send(batch(first, first + 1))

    found = [name for name, _ in manifests(_store(url))]
    later = [name for name, _ in manifests(_store(url), after=found[1])]

    assert [int(name.partition("-")[0]) for name in found] == [1, 9, 100, 1000]
    assert later == found[2:]


def test_lines_of__file_was_damaged__is_refused(url: str) -> None:
    _opened(url).send(batch(1, 4))
    store = _store(url)
    obstore.put(store, "events/day=2026-05-01/1-4.ndjson.zst", b"other")

    ((_, manifest),) = manifests(store)
    with pytest.raises(CorruptUnit):
        list(lines_of(store, manifest))


def test_check__writes_no_record(url: str) -> None:
    _opened(url).check()

    assert (_delivered(url), _objects(url)) == ([], ["tests/probe"])


def test_send__to_a_directory__is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        _opened((tmp_path / "exports").as_uri()).send(batch(1, 4, timedelta(seconds=20)))
    finally:
        os.umask(old)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "exports").rglob("*")}
    modes[tmp_path / "exports"] = stat.S_IMODE((tmp_path / "exports").stat().st_mode)
    assert len(modes) == 8
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_lines_by_day__time_is_no_time__is_unknown_and_no_path() -> None:
    records = [record(1, timestamp="../../etc/passwd"), record(2, timestamp=None), record(3), record(4, timestamp="é")]

    found = lines_by_day(batch_of(records))

    assert {day: [one["event_log_id"] for one in events(lines)] for day, lines in found.items()} == {
        "unknown": [1, 2, 4],
        "2026-05-01": [3],
    }


def _file_in_the_way(path: Path) -> str:
    path.write_text("")
    return path.as_uri()


def _file_below(path: Path) -> str:
    path.mkdir()
    (path / "events").write_text("")
    (path / "tests").write_text("")
    return path.as_uri()


@pytest.mark.parametrize("prepared", [_file_in_the_way, _file_below])
def test_check_and_send__place_is_no_directory__are_refused(tmp_path: Path, prepared: Callable[[Path], str]) -> None:
    sink = _opened(prepared(tmp_path / "place"))

    for ask in ASKS:
        with pytest.raises(SinkRefused, match=r"a file is in the place of a directory\. Check EXPORT_SINKS$"):
            ask(sink)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of 16 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount a file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_send__disk_is_full__is_told_and_nothing_was_delivered(small_disk: Path) -> None:
    sink = _opened((small_disk / "exports").as_uri())
    noise = [record(number, referrer=os.urandom(400).hex()) for number in range(100)]

    with pytest.raises(SinkUnavailable, match=r"did not store the batch: no space is left on its disk$"):
        sink.send(batch_of(noise))

    assert [*manifests(local_store(small_disk / "exports"))] == []


def test_check_and_send__bucket_is_missing__are_refused(environment: Mapping[str, str]) -> None:
    sink = _opened("s3://no-such-bucket-of-ours/prefix")

    for ask in ASKS:
        with pytest.raises(SinkRefused, match=r"its bucket or directory does not exist\. Check EXPORT_SINKS$"):
            ask(sink)


def test_send__no_server__is_unavailable_and_shows_no_secret(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")

    with pytest.raises(SinkUnavailable) as unavailable:
        _opened("s3://bucket/prefix").send(batch(1, 2))

    assert str(unavailable.value) == "The sink archive did not store the batch: GenericError"


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (403, SinkRefused, "access is denied, or there are no credentials"),
        (401, SinkRefused, "access is denied, or there are no credentials"),
        (404, SinkRefused, "its bucket or directory does not exist"),
        (503, SinkUnavailable, "did not store the batch: GenericError"),
    ],
)
def test_check_and_send__s3_refuses__is_told_without_what_it_says(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception], told: str
) -> None:
    says = f"<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>{SECRET}</AWSAccessKeyId></Error>".encode()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    with receiving(Receiver(lambda _: Reply(status, body=says))) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{service.port}")
        for ask in ASKS:
            with pytest.raises(kind, match=told) as failure:
                ask(_opened("s3://bucket/prefix"))
            assert SECRET not in "".join(traceback.format_exception(failure.value))


def test_send__no_credentials__is_refused(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(SinkRefused, match="the AWS environment has no credentials or no region"):
        _opened("s3://bucket/prefix").send(batch(1, 2))


_DYING = """
import os, sys
from analytics_pipeline.resources.sinks import objects
from tests.resources.sinks.records import batch
from datetime import timedelta

left = int(sys.argv[2])

def dying(real):
    def call(*args):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*args)
    return call

objects.put_private, objects.settle = dying(objects.put_private), dying(objects.settle)
objects.ObjectSink("archive", sys.argv[1]).send(batch(1, 4, timedelta(seconds=20)))
"""


@pytest.mark.slow
def test_send__process_dies_before_any_of_its_writes__nothing_or_all_is_delivered(tmp_path: Path) -> None:
    """Two files, their settling, the manifest, its settling: five places to die at."""
    delivered = []
    for writes in range(6):
        url = (tmp_path / str(writes)).as_uri()
        code = subprocess.run([sys.executable, "-c", _DYING, url, str(writes)], check=False).returncode
        delivered.append((code, _delivered(url)))
        _opened(url).send(batch(1, 4, timedelta(seconds=20)))
        assert _delivered(url) == [1, 2, 3, 4]

    all_of_it = [1, 2, 3, 4]
    assert delivered == [(9, []), (9, []), (9, []), (9, []), (9, all_of_it), (0, all_of_it)]
