"""The providers we know by name, as data; whatever speaks a dialect of theirs needs two lines of settings.

The order is the one in which a bare model name looks for its provider (design.md, "Model names").
"""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.core.provider import Dialect
from penstock.providers.anthropic import ANTHROPIC
from penstock.providers.openai import COMPATIBLE, OPENAI


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A provider whose name alone says where it is. ``book_name`` is its name in the price book."""

    name: str
    dialect: Dialect
    base_url: str
    key_names: tuple[str, ...]
    book_name: str


BUILT_IN: Mapping[str, BuiltIn] = {
    provider.name: provider
    for provider in (
        BuiltIn("openai", OPENAI, "https://api.openai.com/v1", ("OPENAI_API_KEY",), "openai"),
        BuiltIn("anthropic", ANTHROPIC, "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",), "anthropic"),
    )
}

DIALECTS: Mapping[str, Dialect] = {"openai": COMPATIBLE, "anthropic": ANTHROPIC}
