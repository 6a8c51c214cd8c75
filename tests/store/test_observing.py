from penstock.core.observations import Lesson, Observation, Topic
from penstock.store.engine import Database
from penstock.store.observing import load_observations, save_observations

INPUT = Topic("lab", "small", Lesson.OVERHEAD, "t")
OUTPUT = Topic("lab", "small", Lesson.OUTPUT, "stream")


def test_nothing_is_known_at_first(database: Database) -> None:
    with database.reading() as connection:
        assert load_observations(connection) == {}


def test_what_several_processes_learn_is_merged_to_the_safe_side(database: Database) -> None:
    lessons = [
        {INPUT: Observation(1, 2000), OUTPUT: Observation(5, 10, 30)},
        {INPUT: Observation(1, 1500), OUTPUT: Observation(7, 10, 20)},
        {OUTPUT: Observation(9, 10, 40)},
    ]
    known: dict[Topic, Observation] = {}
    for news in lessons:
        with database.writing() as connection:
            known |= save_observations(connection, news)
    assert known == {INPUT: Observation(2, 2000), OUTPUT: Observation(21, 10, 20)}
    with database.reading() as connection:
        assert load_observations(connection) == known
