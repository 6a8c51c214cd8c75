"""What holds for every test: nothing that this machine's owner has set, and no file of theirs, reaches it."""

import os
import re

import hypothesis
import pytest

# A slow machine is no failure: what must be fast is measured in bench/.
hypothesis.settings.register_profile("penstock", deadline=None)
hypothesis.settings.load_profile("penstock")

# Our own settings, the keys and addresses that provider SDKs read by themselves, and proxies that clients obey.
FOREIGN = re.compile(
    r"PENSTOCK_.*|.*_API_KEY(_FILE)?|.*_BASE_URL|.*_AUTH_TOKEN|(http|https|all|no)_proxy", re.IGNORECASE
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if FOREIGN.fullmatch(name):
            monkeypatch.delenv(name)
