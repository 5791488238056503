"""Programs outside that share the key: the names by which the coordinator knows them, and what each may ask for."""

import re
from dataclasses import dataclass, field

from alexandria.domain.quota import Lane

PREFIX = "external-"
"""Before the name of a program outside, so that no consumer of ours is ever taken for one."""

NAME_RULE = "must be 1 to 40 of the characters a-z, 0-9 and -"

_NAME = re.compile(r"[a-z0-9-]{1,40}")


def is_name(text: str) -> bool:
    """Whether a program outside may be called that."""
    return _NAME.fullmatch(text) is not None


def consumer_of(name: str) -> str:
    """The consumer that a program's reservations are charged to."""
    return PREFIX + name


def is_outside(consumer: str) -> bool:
    """Whether a consumer is a program outside."""
    return consumer.startswith(PREFIX)


@dataclass(frozen=True, slots=True)
class Program:
    """A program outside and its token. The token opens nothing but reservations of its own."""

    name: str
    lane: Lane
    """The highest lane that it may use, and the one it uses when it names none."""
    ceiling: int | None
    """Units a day that it may spend at most; None: as many as its lane may."""
    token: str = field(repr=False)

    @property
    def consumer(self) -> str:
        """The consumer that its reservations are charged to."""
        return consumer_of(self.name)

    def may_use(self, lane: Lane) -> bool:
        """Whether a lane is its own or a lower one."""
        return lane not in self.lane.above
