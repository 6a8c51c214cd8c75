import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.identity import KeyType, mint_key
from penstock.observe.lines import TEXT_LENGTH_MAX, Redactor, describe_exception, log_time

SECRETS = [
    mint_key(KeyType.API),
    mint_key(KeyType.ADMIN),
    "sk-proj-Abc123_def-456",
    "sk-ant-api03-abcdefgh",
    "sk-or-v1-0123456789abcdef",
    "gsk_0123456789abcdef",
    "xai-0123456789abcdef",
    "AIzaSyA-0123456789abcdefghijklmnopqrstu",
    "eyJhbGciOiJIUzI1NiJ9.eyJlbWFpbCI6ImEifQ.c2lnbmF0dXJl",
    "eyJhbGciOiJIUzI1NiJ9.eyJlbWFpbCI6ImEifQ",
    "ann.lee+test@mail.example.co.uk",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "model {} not found", "'{}'", "a={};b", "(Bearer {})", "https://h/x?key={}&alt=sse"]
)
def test_takes_a_secret_out_wherever_it_stands(secret: str, around: str) -> None:
    clean = Redactor().text(around.format(secret))
    assert secret not in clean
    assert secret[-8:] not in clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://app:hunter22@db.internal/penstock", "postgresql://***@db.internal/penstock"),
        ("postgresql://app:hunter22@localhost/penstock", "postgresql://***@localhost/penstock"),
        ("Authorization: Basic YW5uOnNlY3JldA==", "Authorization: ***"),
        ("GET /v1/models?key=abc&alt=sse", "GET /v1/models?***&***"),
    ],
)
def test_takes_out_what_stands_in_urls_and_headers(text: str, clean: str) -> None:
    assert Redactor().text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "openai/gpt-4.1-nano",
        "anthropic/claude-sonnet-4-5@20250929",
        "task-force-one-two",
        "req_011CSHoEeqs5C35K2UUqR7Fy",
        "http://127.0.0.1:8787",
        "10 usd / month",
    ],
)
def test_leaves_what_is_no_secret(text: str) -> None:
    assert Redactor().text(text) == text


def test_takes_out_the_very_secrets_that_it_was_given() -> None:
    redactor = Redactor(["correct horse", "correct horse battery", "short", ""])
    assert redactor.text("key=correct horse battery, correct horse, short") == "key=***, ***, short"


def test_a_text_is_cut_and_a_secret_across_the_cut_is_gone() -> None:
    key = mint_key(KeyType.API)
    clean = Redactor().text("x " * (TEXT_LENGTH_MAX // 2 - 5) + key + " tail" * 1000)
    assert len(clean) <= TEXT_LENGTH_MAX + 3
    assert key[:12] not in clean


@given(st.recursive(st.text() | st.floats() | st.binary() | st.none() | st.just("\ud800"), st.lists, max_leaves=20))
def test_any_value_becomes_json(value: object) -> None:
    msgspec.json.encode(Redactor().value(value))


def test_of_what_is_no_json_value_only_the_kind_is_said() -> None:
    value = {"body": b"secret", "error": ValueError("secret"), "list": [{"a@example.com"}]}
    assert Redactor().value(value) == {"body": "bytes", "error": "ValueError", "list": [["***"]]}


def test_an_exception_shows_classes_and_places_and_no_message() -> None:
    def parse() -> None:
        try:
            int("sk-pen-secret")
        except ValueError as error:
            raise LookupError("prompt of a user") from error

    with pytest.raises(LookupError) as caught:
        parse()
    said = describe_exception(caught.value)
    assert said["exception"] == ["LookupError", "ValueError"]
    assert str(said["where"]).endswith(" parse']")
    assert "prompt" not in str(said)
    assert "secret" not in str(said)


def test_time_is_utc_with_milliseconds() -> None:
    assert log_time(1_795_219_200_007) == "2026-11-21T00:00:00.007Z"
