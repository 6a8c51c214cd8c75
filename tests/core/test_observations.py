from penstock.core.call import Basis, Ending
from penstock.core.observations import CALLS_MIN, Observations, combine, learn
from penstock.core.usage import Usage


def metered(tokens_in: int, tokens_out: int, *, input_bytes: int = 0, bytes_out: int = 0, traits: str = "") -> Ending:
    return Ending(
        Basis.PROVIDER,
        1,
        Usage(input=tokens_in, output=tokens_out),
        was_sent=True,
        input_bytes=input_bytes,
        bytes_out=bytes_out,
        traits=traits,
    )


def after(*endings: Ending) -> Observations:
    observations = Observations()
    for ending in endings:
        observations.publish(
            {
                topic: combine(topic, observations.seen[topic], new) if topic in observations.seen else new
                for topic, new in learn(observations.seen, [("lab", "m", ending)]).items()
            }
        )
    return observations


def test_the_overhead_starts_at_what_providers_are_known_to_add() -> None:
    observations = Observations()
    assert observations.overhead("lab", "m", "") == 1024
    assert observations.overhead("lab", "m", "t") == 4096
    assert observations.overhead("lab", "m", "s") == 4096


def test_one_excess_raises_the_overhead_at_once_for_that_model_and_those_traits() -> None:
    observations = after(metered(2600, 1, input_bytes=100))
    assert observations.overhead("lab", "m", "") == 2500
    assert observations.overhead("lab", "m", "t") == 4096
    assert observations.overhead("lab", "other", "") == 1024


def test_a_smaller_excess_lowers_nothing_and_is_no_news() -> None:
    observations = after(metered(2600, 1, input_bytes=100))
    assert learn(observations.seen, [("lab", "m", metered(2000, 0, input_bytes=100))]) == {}


def test_an_ending_that_does_not_say_how_long_its_input_was_teaches_no_overhead() -> None:
    assert after(metered(900_000, 1)).overhead("lab", "m", "") == 1024


def test_the_output_ratio_is_used_after_enough_calls_and_is_the_lowest_seen() -> None:
    endings = [metered(1, 10, bytes_out=900), metered(1, 10, bytes_out=31), metered(1, 100, bytes_out=900)]
    endings += [metered(1, 1, bytes_out=500)] * (CALLS_MIN - 4)
    assert after(*endings).output_ratio("lab", "m", is_stream=False) is None
    enough = after(*endings, metered(1, 1, bytes_out=500))
    assert enough.output_ratio("lab", "m", is_stream=False) == (31, 10)
    assert enough.output_ratio("lab", "m", is_stream=True) is None


def test_once_there_are_enough_calls_only_a_lower_ratio_is_news() -> None:
    seen = after(*[metered(1, 10, bytes_out=50)] * CALLS_MIN).seen
    assert learn(seen, [("lab", "m", metered(1, 10, bytes_out=50))]) == {}
    assert len(learn(seen, [("lab", "m", metered(1, 10, bytes_out=49))])) == 1


def test_an_estimate_teaches_nothing_about_output() -> None:
    ending = Ending(Basis.ESTIMATED, 1, Usage(output=5), was_sent=True, bytes_out=1)
    assert learn({}, [("lab", "m", ending)]) == {}


def test_calls_of_one_batch_are_learned_as_one_observation() -> None:
    news = learn({}, [("lab", "m", metered(1, 2, bytes_out=9)), ("lab", "m", metered(1, 2, bytes_out=7))])
    assert [(seen.calls, seen.bytes, seen.tokens) for seen in news.values()] == [(2, 7, 2)]
