import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.identity import (
    KEY_PATTERN,
    KeyType,
    Principal,
    Role,
    is_well_formed,
    key_digest,
    key_kid,
    mint_key,
)
from penstock.core.limits import Policy

# A key of ours as it looks, fixed here so that the format cannot drift: prefix, type, kid, secret, checksum.
KEY = "sk-pen-k" + "0123456789" + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq" + "1ztvSI"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_key_has_the_documented_shape() -> None:
    assert is_well_formed(KEY)
    assert len(KEY) == 67
    assert key_kid(KEY) == "0123456789"


@pytest.mark.parametrize(("key_type", "letter"), [("API", "k"), ("WEB", "w"), ("ADMIN", "a"), ("CODE", "c")])
def test_each_type_has_its_letter(key_type: str, letter: str) -> None:
    key = mint_key(KeyType[key_type])
    assert key.startswith(f"sk-pen-{letter}")
    assert is_well_formed(key)
    assert KEY_PATTERN.fullmatch(key)
    assert key_kid(key) == key[8:18]


def test_keys_are_random_in_every_place() -> None:
    keys = [mint_key(KeyType.API) for _ in range(1000)]
    assert len({key_kid(key) for key in keys}) == 1000
    assert all(len(set(place)) > 40 for place in zip(*(key[8:61] for key in keys), strict=True))


@given(place=st.integers(0, 66), letter=st.sampled_from(DIGITS + "-_ \n\u00e9"))
def test_every_single_edit_is_seen_offline(place: int, letter: str) -> None:
    edited = KEY[:place] + letter + KEY[place + 1 :]
    assert is_well_formed(edited) is (edited == KEY)


@given(place=st.integers(0, 65))
def test_every_swap_of_neighbours_is_seen_offline(place: int) -> None:
    edited = KEY[:place] + KEY[place + 1] + KEY[place] + KEY[place + 2 :]
    assert is_well_formed(edited) is (edited == KEY)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "sk-pen-",
        KEY[:-1],
        KEY + "0",
        KEY + "\n",
        " " + KEY,
        KEY.upper(),
        "sk-proj-" + KEY[8:],
        "x" * 10_000,
        KEY * 2,
    ],
)
def test_what_has_another_shape_is_no_key(token: str) -> None:
    assert not is_well_formed(token)


def test_a_type_that_does_not_exist_is_refused_with_any_checksum() -> None:
    assert not is_well_formed("sk-pen-x" + KEY[8:])


@given(st.text(max_size=80))
def test_random_text_is_no_key(token: str) -> None:
    assert not is_well_formed(token)


def test_a_digest_is_an_hmac_that_depends_on_both_its_parts() -> None:
    # RFC 4231, test case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert key_digest(b"Jefe", "what do ya want for nothing?").hex() == expected
    assert len({key_digest(pepper, key) for pepper in (b"a", b"b") for key in (KEY, KEY[:-1])}) == 4


@pytest.mark.parametrize(("email", "label"), [("ada@example.com", "ada@example.com"), (None, "laptop"), ("", "laptop")])
def test_a_caller_is_named_by_e_mail_else_by_key(email: str | None, label: str) -> None:
    principal = Principal(1, "laptop", Role.MEMBER, None, email, Policy("p"), ())
    assert principal.label == label
