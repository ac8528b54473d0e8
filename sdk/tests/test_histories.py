"""Random histories of faults: every accepted event is stored once, or counted as lost."""

import os
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from analytics_pipeline_sdk import Settings, Stats
from analytics_pipeline_sdk.settings import Durability
from sdk_support.world import WEATHERS, Killed, Process, World

QUICK, BLOCKS, OF_BLOCK = 12, 10, 50
SEED = int(os.environ.get("SDK_SEED", "20261127"))
AMPLE = Settings(batch_events=20, segment_bytes=4_096)
TIGHT = replace(
    AMPLE, queue_events=50, queue_bytes=10_000, spool_bytes=16_384, segment_bytes=4_096, policy="drop_oldest"
)


@dataclass
class History:
    """Some processes, which may share a directory, over about ten minutes."""

    seed: int
    directory: Path
    durability: Durability
    settings: Settings
    accepted: set[str] = field(default_factory=set)
    lost: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.world = World(self.chance)
        self.processes = [self._begin()]

    def _begin(self) -> Process:
        return Process(self.world, self.directory, self.durability, self.settings)

    def play(self) -> None:
        while self.world.now < 600:
            process = self.chance.choice(self.processes)
            try:
                self._act(process)
            except Killed:
                self._replace(process, process.kill())
            for one in self.processes:
                _check(one.backlog.stats(), one.calls)
        self._finish()

    def _act(self, process: Process) -> None:
        action = self.chance.choices(("track", "run", "weather", "kill", "close", "begin"), (6, 6, 3, 1, 1, 1))[0]
        if action == "track":
            self._track(process)
        elif action == "run":
            process.run(self.chance.choice((0.5, 10.0, 40.0)))
        elif action == "weather":
            self.world.weather = self.chance.choice(WEATHERS)
        elif action == "kill":
            self._replace(process, process.kill())
        elif action == "close":
            self._replace(process, process.close())
        elif len(self.processes) < 3:
            self.processes.append(self._begin())

    def _track(self, process: Process) -> None:
        for _ in range(self.chance.choice((1, 8, 60))):
            identifier = process.track()
            if identifier is not None:
                self.accepted.add(identifier)
                self.world.rejected |= {identifier} if self.chance.random() < 0.01 else set()
                self.world.unreadable |= {identifier} if self.chance.random() < 0.003 else set()

    def _replace(self, process: Process, last: Stats) -> None:
        _check(last, process.calls)
        self.lost += sum(last.dropped.values()) + last.pending - last.pending_on_disk
        self.processes[self.processes.index(process)] = self._begin()

    def _finish(self) -> None:
        self.world.weather = "fine"
        for process in [*self.processes, *self.processes]:
            process.run(400.0)
        for process in [*self.processes]:
            self._replace(process, process.close())
        last = self._begin()
        last.run(400.0)
        self.processes = [last]
        self._replace(last, last.close())


def _check(stats: Stats, calls: int) -> None:
    assert stats.is_balanced, stats
    assert stats.tracked == calls, stats


def _played(seed: int, directory: Path, durability: Durability, settings: Settings) -> History:
    print(f"history {seed}; SDK_SEED={SEED}")  # noqa: T201 - shown when the test fails
    history = History(seed, directory, durability, settings)
    history.play()
    return history


def _missing(history: History) -> set[str]:
    world = history.world
    return history.accepted - {*world.stored} - world.rejected - world.unreadable


def _assert_nothing_is_lost(seed: int, directory: Path) -> None:
    history = _played(seed, directory, "disk", AMPLE)

    assert _missing(history) == set()
    assert {*history.world.stored.values()} <= {1}
    assert {*history.world.stored} <= history.accepted
    assert history.world.too_early == 0
    assert list(directory.glob("*.segment")) == []


def _assert_losses_are_counted(seed: int, directory: Path) -> None:
    history = _played(seed, directory, random.Random(seed).choice(("memory", "disk")), TIGHT)

    assert len(_missing(history)) <= history.lost
    assert {*history.world.stored.values()} <= {1}


@pytest.mark.parametrize("seed", range(SEED, SEED + QUICK))
def test_disk__random_faults_and_kills__every_accepted_event_is_stored_once(seed: int, tmp_path: Path) -> None:
    _assert_nothing_is_lost(seed, tmp_path / "spool")


@pytest.mark.parametrize("seed", range(SEED, SEED + QUICK))
def test_tight_bounds__random_faults_and_kills__what_is_lost_is_counted(seed: int, tmp_path: Path) -> None:
    _assert_losses_are_counted(seed, tmp_path / "spool")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_histories__a_thousand__hold(block: int, tmp_path: Path) -> None:
    for seed in range(SEED + QUICK + block * OF_BLOCK, SEED + QUICK + (block + 1) * OF_BLOCK):
        _assert_nothing_is_lost(seed, tmp_path / f"ample-{seed}")
        _assert_losses_are_counted(seed, tmp_path / f"tight-{seed}")
