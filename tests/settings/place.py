"""An admin's machine: a folder with files, and an environment, from which settings are loaded as at a start."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.settings import Settings, SettingsError, find_file, load


@dataclass(frozen=True)
class KnownProvider:
    base_url: str
    key_names: tuple[str, ...]
    address_name: str = ""


BUILT_IN = {
    "openai": KnownProvider("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "gemini": KnownProvider("https://gemini.example", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    "azure": KnownProvider("/openai/v1", ("AZURE_OPENAI_API_KEY",), "AZURE_OPENAI_ENDPOINT"),
}
DIALECTS = ("openai", "anthropic")


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def load(self, toml: str = "", environ: Mapping[str, str] | None = None, dotenv: str = "") -> Settings:
        self.write("penstock.toml", toml)
        self.write(".env", dotenv)
        environ = environ or {}
        return load(find_file(environ, self.folder), environ, self.folder / ".env", BUILT_IN, DIALECTS)

    def refuse(self, toml: str = "", environ: Mapping[str, str] | None = None, dotenv: str = "") -> str:
        """What the admin is told."""
        with pytest.raises(SettingsError) as refusal:
            self.load(toml, environ, dotenv)
        return str(refusal.value)
