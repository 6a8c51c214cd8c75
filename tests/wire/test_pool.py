"""Bookkeeping of idle connections, on values: LIFO, bounds, expiry."""

from dataclasses import dataclass

from penstock.core.provider import Origin
from penstock.wire.pool import Pool, PoolKey, PoolLimits

A: PoolKey = (Origin("https", "a.test", 443), False)
B: PoolKey = (Origin("https", "b.test", 443), False)
A_PRIVATE: PoolKey = (Origin("https", "a.test", 443), True)


@dataclass(eq=False)
class Connection:
    key: PoolKey
    idle_since_s: float = 0.0


def test_the_last_one_put_in_is_the_first_one_out() -> None:
    pool: Pool[Connection] = Pool(PoolLimits())
    first, second = Connection(A), Connection(A)
    pool.put(first, 1.0)
    pool.put(second, 2.0)
    assert [pool.take(A, 2.0), pool.take(A, 2.0), pool.take(A, 2.0)] == [second, first, None]


def test_origins_and_leave_to_reach_private_addresses_are_kept_apart() -> None:
    pool: Pool[Connection] = Pool(PoolLimits())
    pool.put(Connection(A), 1.0)
    assert pool.take(B, 1.0) is None
    assert pool.take(A_PRIVATE, 1.0) is None
    assert pool.take(A, 1.0) is not None


def test_a_full_shelf_gives_up_its_oldest() -> None:
    pool: Pool[Connection] = Pool(PoolLimits(idle_per_origin=2))
    kept = [Connection(A) for _ in range(3)]
    assert [pool.put(connection, float(at)) for at, connection in enumerate(kept)] == [None, None, kept[0]]
    assert pool.put(Connection(B), 3.0) is None
    assert len(pool) == 3


def test_what_was_removed_is_not_given_out() -> None:
    pool: Pool[Connection] = Pool(PoolLimits())
    connection = Connection(A)
    pool.remove(connection)
    pool.put(connection, 1.0)
    pool.remove(connection)
    assert pool.take(A, 1.0) is None


def test_one_that_must_rest_is_not_given_out_before() -> None:
    pool: Pool[Connection] = Pool(PoolLimits(rest_s=0.5))
    ready, resting = Connection(A), Connection(A)
    pool.put(ready, 1.0)
    pool.put(resting, 1.0, must_rest=True)
    assert len(pool) == 2
    assert [pool.take(A, 1.4), pool.take(A, 1.4)] == [ready, None]
    assert [pool.take(A, 1.5), pool.take(A, 1.5)] == [resting, None]


def test_one_that_rests_can_be_removed_expire_and_make_room() -> None:
    pool: Pool[Connection] = Pool(PoolLimits(idle_per_origin=1, idle_s=60.0))
    removed, displaced, expired = Connection(A), Connection(A), Connection(A)
    pool.put(removed, 1.0, must_rest=True)
    pool.remove(removed)
    assert pool.put(displaced, 1.0, must_rest=True) is None
    assert pool.put(expired, 2.0, must_rest=True) is displaced
    assert pool.take_expired(62.0) == [expired]
    assert len(pool) == 0


def test_the_idle_time_counts_from_the_last_use() -> None:
    pool: Pool[Connection] = Pool(PoolLimits(idle_s=60.0))
    old, used = Connection(A), Connection(A)
    pool.put(old, 0.0)
    pool.put(used, 0.0)
    assert pool.take(A, 0.0) is used
    pool.put(used, 30.0)
    assert pool.take_expired(59.9) == []
    assert pool.take_expired(60.0) == [old]
    assert pool.take_expired(90.0) == [used]
    assert len(pool) == 0


def test_the_oldest_of_all_origins_makes_room() -> None:
    pool: Pool[Connection] = Pool(PoolLimits())
    first, second = Connection(B), Connection(A)
    pool.put(first, 1.0)
    pool.put(second, 2.0)
    assert [pool.take_oldest(), pool.take_oldest(), pool.take_oldest()] == [first, second, None]
