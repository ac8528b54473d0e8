"""How far SQL and the engine agree on a sample."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Disagreement:
    """A segment whose members in an environment's sample are not the same for SQL and for the engine.

    `example` is the beginning of the SHA-256 of an identifier, which is the customer's personal data.
    """

    project_id: int
    segment_id: int
    environment_id: int
    differing: int
    sampled: int
    example: str


@dataclass
class Agreement:
    """How much was compared of the day's sample, and where SQL and the engine disagree.

    `answers`: whether an identity is in a segment, as both have said. Without any, nothing was compared.
    `left_out`: projects and segments that the run counted and the sample leaves out, because there are too many or the
    time was over. Segments that only the engine counts have nothing to be compared with and are in neither.
    """

    projects: int = 0
    environments: int = 0
    segments: int = 0
    identities: int = 0
    answers: int = 0
    projects_left_out: int = 0
    segments_left_out: int = 0
    found: list[Disagreement] = field(default_factory=list)

    def add(self, other: "Agreement") -> None:
        """Take another day's in."""
        for name, count in other.counts().items():
            setattr(self, name, getattr(self, name) + count)
        self.found += other.found

    def counts(self) -> dict[str, int]:
        """How much, by the names above."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}
