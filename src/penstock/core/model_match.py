"""Which model names a price rule is for: clauses over one lower-case name, combined by or and and.

They are data, stored with the price book, and mean what they mean in genai-prices, so that its rules can be imported as
they are: everything but a regex ignores case, and a regex is searched for in the lower-case name.
"""

import re
from functools import lru_cache
from typing import TypeAlias

import msgspec


class Equals(msgspec.Struct, frozen=True, array_like=True, tag="equals"):
    text: str

    def matches(self, name: str) -> bool:
        return name == self.text.lower()


class StartsWith(msgspec.Struct, frozen=True, array_like=True, tag="starts_with"):
    text: str

    def matches(self, name: str) -> bool:
        return name.startswith(self.text.lower())


class EndsWith(msgspec.Struct, frozen=True, array_like=True, tag="ends_with"):
    text: str

    def matches(self, name: str) -> bool:
        return name.endswith(self.text.lower())


class Contains(msgspec.Struct, frozen=True, array_like=True, tag="contains"):
    text: str

    def matches(self, name: str) -> bool:
        return self.text.lower() in name


class Regex(msgspec.Struct, frozen=True, array_like=True, tag="regex"):
    pattern: str

    def matches(self, name: str) -> bool:
        return _compiled(self.pattern).search(name) is not None


class AnyOf(msgspec.Struct, frozen=True, array_like=True, tag="or"):
    clauses: "tuple[Clause, ...]"

    def matches(self, name: str) -> bool:
        return any(clause.matches(name) for clause in self.clauses)


class AllOf(msgspec.Struct, frozen=True, array_like=True, tag="and"):
    clauses: "tuple[Clause, ...]"

    def matches(self, name: str) -> bool:
        return all(clause.matches(name) for clause in self.clauses)


Clause: TypeAlias = Equals | StartsWith | EndsWith | Contains | Regex | AnyOf | AllOf


def literal_names(clause: Clause) -> tuple[str, ...] | None:
    """The lower-case names that a clause spells out, if it matches exactly those; None if it may match others."""
    if isinstance(clause, Equals):
        return (clause.text.lower(),)
    if isinstance(clause, AnyOf) and all(isinstance(inner, Equals) for inner in clause.clauses):
        return tuple(inner.text.lower() for inner in clause.clauses if isinstance(inner, Equals))
    return None


def spelled_names(clause: Clause) -> tuple[str, ...]:
    """Every whole name that a clause spells out somewhere, in lower case."""
    if isinstance(clause, Equals):
        return (clause.text.lower(),)
    if isinstance(clause, AnyOf | AllOf):
        return tuple(name for inner in clause.clauses for name in spelled_names(inner))
    return ()


def check_clause(clause: Clause) -> None:
    """Raises ValueError for a regex that does not compile, or an empty text that would match every model."""
    match clause:
        case AnyOf() | AllOf():
            if not clause.clauses:
                raise ValueError("a clause without parts")
            for inner in clause.clauses:
                check_clause(inner)
        case Regex():
            try:
                _compiled(clause.pattern)
            except re.error as exc:
                raise ValueError(f"not a regular expression: {clause.pattern!r}") from exc
        case _:
            if not clause.text:
                raise ValueError("a clause without text")


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
