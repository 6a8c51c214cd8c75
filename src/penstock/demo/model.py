"""What the demo model says. Pure and deterministic: sums, counting, values that fit a JSON schema, else an echo.

Its rule of tokens can be checked by hand: one for every four bytes of UTF-8, rounded up.
"""

import re
from collections.abc import Mapping
from fractions import Fraction

MODEL = "penstock-demo"
CONTEXT_TOKENS = 128_000
OUTPUT_TOKENS_MAX = 4096
BYTES_PER_TOKEN = 4
_NUMBER = r"\d{1,15}(?:\.\d{1,9})?"
# Minus wants its spaces, or every date would be a sum.
_SUM = re.compile(rf"{_NUMBER}(?:(?:\s*[+*/x]\s*|\s+-\s+){_NUMBER}){{1,20}}")
_SUM_PARTS = re.compile(rf"{_NUMBER}|[-+*/x]")
_COUNT = re.compile(r"\bcount (?:from 1 |from one )?to (\d{1,4})\b", re.IGNORECASE)
_INTEGER = re.compile(r"-?\d{1,15}")
_WORDS_ECHOED = 40
_TEXT_FILLED_MAX = 200
_SCHEMA_DEPTH_MAX = 8
_SCHEMA_VALUES_MAX = 1000


def count_tokens(text: str) -> int:
    """One token for every four bytes, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def cut(text: str, tokens: int) -> str:
    """The longest beginning of the text that has at most that many tokens."""
    return text.encode()[: tokens * BYTES_PER_TOKEN].decode(errors="ignore")


def say(text: str) -> str:
    """The model's answer to what was said last."""
    if match := _COUNT.search(text):
        return ", ".join(str(number) for number in range(1, int(match[1]) + 1))
    if match := _SUM.search(text):
        return f"{match[0]} = {calculate(match[0])}"
    words = text.split()
    if len(words) <= _WORDS_ECHOED:
        return f"I am a small demo model without a network. You said: {text.strip()}"
    return f"I am a small demo model. You wrote {len(words)} words, beginning: {' '.join(words[:_WORDS_ECHOED])}..."


def calculate(expression: str) -> str:
    """A sum such as ``1 + 2 * 3``: products first, then from left to right; exact, shown with six digits at most."""
    first, *rest = _SUM_PARTS.findall(expression)
    total, term = Fraction(0), Fraction(first)
    for operator, text in zip(rest[::2], rest[1::2], strict=True):
        number = Fraction(text)
        if operator in "*x":
            term *= number
        elif operator == "/":
            if not number:
                return "undefined"
            term /= number
        else:
            total, term = total + term, number if operator == "+" else -number
    total += term
    return str(total) if total.denominator == 1 else f"{float(total):.6g}"


def fill(schema: Mapping[str, object], text: str) -> object:
    """A value that fits a JSON schema: enough of it for tools and structured answers; strings are the caller's text."""
    return _Filler(schema, text).value(schema, 0)


class _Filler:
    """Walks a schema, which may refer to itself: not too deep, and not for ever. ``root`` is where references lead."""

    def __init__(self, root: Mapping[str, object], text: str) -> None:
        self._root = root
        self._text = text.strip()[:_TEXT_FILLED_MAX]
        self._values = 0

    def value(self, schema: object, depth: int) -> object:
        self._values += 1
        if not isinstance(schema, Mapping) or depth > _SCHEMA_DEPTH_MAX or self._values > _SCHEMA_VALUES_MAX:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(reference := schema.get("$ref"), str):
            return self.value(self._referred(reference), depth + 1)
        for name in ("enum", "anyOf", "oneOf", "allOf"):
            if isinstance(choices := schema.get(name), list) and choices:
                return choices[0] if name == "enum" else self.value(choices[0], depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: Mapping[str, object], depth: int) -> object:
        kind = schema.get("type")
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "object":
                properties = schema.get("properties")
                fields = properties.items() if isinstance(properties, Mapping) else ()
                return {name: self.value(field, depth + 1) for name, field in fields}
            case "array":
                return [self.value(schema["items"], depth + 1)] if "items" in schema else []
            case "integer" | "number":
                number = _INTEGER.search(self._text)
                return int(number[0]) if number else 1
            case "boolean":
                return True
            case "null":
                return None
        return self._text

    def _referred(self, reference: str) -> object:
        place: object = self._root
        for name in reference.removeprefix("#").strip("/").split("/"):
            place = place.get(name) if isinstance(place, Mapping) else None
        return place
