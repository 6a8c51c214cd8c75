"""What the ledger has learned, in the database: read at the start, merged with every lesson that is news."""

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from penstock.core.observations import Lesson, Observation, Topic, combine
from penstock.store.schema import observation


def load_observations(connection: Connection) -> dict[Topic, Observation]:
    """Everything that was ever learned."""
    return {
        Topic(row.provider, row.model, Lesson(row.kind), row.trait): Observation(row.calls, row.tokens, row.bytes)
        for row in connection.execute(select(observation))
    }


def save_observations(connection: Connection, news: Mapping[Topic, Observation]) -> dict[Topic, Observation]:
    """Merge the news with what other processes have learned meanwhile; gives what is known now about these topics."""
    known = {}
    for topic, new in news.items():
        at = (
            (observation.c.provider == topic.provider)
            & (observation.c.model == topic.model)
            & (observation.c.kind == topic.lesson.value)
            & (observation.c.trait == topic.trait)
        )
        row = connection.execute(select(observation).where(at)).one_or_none()
        merged = new if row is None else combine(topic, Observation(row.calls, row.tokens, row.bytes), new)
        values = {"calls": merged.calls, "tokens": merged.tokens, "bytes": merged.bytes}
        if row is None:
            key = {
                "provider": topic.provider,
                "model": topic.model,
                "kind": topic.lesson.value,
                "trait": topic.trait,
            }
            connection.execute(insert(observation).values(**key, **values))
        else:
            connection.execute(update(observation).where(at).values(values))
        known[topic] = merged
    return known
