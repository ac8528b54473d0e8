"""Whoever writes into the event log: real sessions whose transactions end in any order, with what they committed."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

ALLOWED, FORBIDDEN = "ViewSearch", "Secret"
_INSERT = "INSERT INTO event_logs (id, name, user_id, source, version) VALUES (%s, %s, 1, 'WEB', '1')"
_NEXT = "SELECT nextval(pg_get_serial_sequence('event_logs', 'id'))"


@dataclass
class Truth:
    """Allowed events that were committed, whoever did it."""

    committed: set[int] = field(default_factory=set)
    used: set[int] = field(default_factory=set)


@dataclass
class Writer:
    """One session. What it inserts is known when it is committed; `levels` are what its savepoints hold."""

    connection: psycopg.Connection
    truth: Truth
    levels: list[set[int]] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    prepared: dict[str, set[int]] = field(default_factory=dict)

    @property
    def steps(self) -> list[Callable[[random.Random], None]]:
        """What the session can do now."""
        always = [self.insert, self.insert, self.forbidden, self.draw, self.explicit, self.commit, self.rollback]
        if self.drawn:
            always.append(self.use_drawn)
        if self.prepared:
            always.append(self.end_prepared)
        if self.levels:
            always += [self.savepoint, self.prepare]
        if len(self.levels) > 1:
            always += [self.rollback_to, self.release]
        return always

    def insert(self, _: random.Random) -> None:
        self._insert(self._next(), ALLOWED)

    def forbidden(self, _: random.Random) -> None:
        self._insert(self._next(), FORBIDDEN)

    def draw(self, _: random.Random) -> None:
        """Take an id and use it later, perhaps in another transaction."""
        self.drawn.append(self._next())

    def use_drawn(self, chance: random.Random) -> None:
        self._insert(self.drawn.pop(chance.randrange(len(self.drawn))), ALLOWED)

    def explicit(self, chance: random.Random) -> None:
        """An id that the sequence never gave, ahead of it or in a place of its own."""
        event_id = chance.choice([chance.randrange(1, 400), chance.randrange(10**6, 10**9)])
        if event_id not in self.truth.used:
            self.truth.used.add(event_id)
            self._insert(event_id, ALLOWED)

    def savepoint(self, _: random.Random) -> None:
        self.connection.execute(f"SAVEPOINT s{len(self.levels)}".encode())
        self.levels.append(set())

    def rollback_to(self, _: random.Random) -> None:
        self.levels.pop()
        self.connection.execute(f"ROLLBACK TO SAVEPOINT s{len(self.levels)}".encode())

    def release(self, _: random.Random) -> None:
        inner = self.levels.pop()
        self.levels[-1] |= inner
        self.connection.execute(f"RELEASE SAVEPOINT s{len(self.levels)}".encode())

    def commit(self, _: random.Random) -> None:
        self.connection.commit()
        self.truth.committed |= set[int]().union(*self.levels)
        self.levels = []

    def rollback(self, _: random.Random) -> None:
        self.connection.rollback()
        self.levels = []

    def prepare(self, chance: random.Random) -> None:
        name = f"p{chance.randrange(10**12)}"
        self.connection.execute(f"PREPARE TRANSACTION '{name}'".encode())
        self.connection.rollback()
        self.prepared[name] = set[int]().union(*self.levels)
        self.levels = []

    def end_prepared(self, chance: random.Random) -> None:
        """In between its own transactions, as Postgres wants it."""
        self.commit(chance)
        name = chance.choice(sorted(self.prepared))
        ids, ending = self.prepared.pop(name), chance.choice(["COMMIT", "ROLLBACK"])
        self.connection.autocommit = True
        self.connection.execute(f"{ending} PREPARED '{name}'".encode())
        self.connection.autocommit = False
        self.truth.committed |= ids if ending == "COMMIT" else set()

    def end_all(self, chance: random.Random) -> None:
        chance.choice([self.commit, self.rollback])(chance)
        while self.prepared:
            self.end_prepared(chance)

    def close(self) -> None:
        """End the session, and whatever it has prepared."""
        self.connection.rollback()
        self.connection.autocommit = True
        for name in self.prepared:
            self.connection.execute(f"ROLLBACK PREPARED '{name}'".encode())
        self.connection.close()

    def _next(self) -> int:
        """An id of the sequence, unless somebody has used it already."""
        while True:
            ((event_id,),) = self.connection.execute(_NEXT).fetchall()
            self.levels = self.levels or [set()]
            if event_id not in self.truth.used:
                self.truth.used.add(event_id)
                return int(event_id)

    def _insert(self, event_id: int, name: str) -> None:
        self.levels = self.levels or [set()]
        self.connection.execute(_INSERT, [event_id, name])
        if name == ALLOWED:
            self.levels[-1].add(event_id)


@contextmanager
def writers(url: str, count: int, truth: Truth) -> Iterator[list[Writer]]:
    """So many sessions."""
    sessions = [Writer(psycopg.connect(url), truth) for _ in range(count)]
    try:
        yield sessions
    finally:
        for one in sessions:
            one.close()
