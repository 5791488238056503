"""Files of others are what their README says they are."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", ["src/alexandria/dashboard/static/vendor", "tests/dashboard/vendor"])
def test_every_file_of_others_is_the_one_that_is_written_down(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text("utf-8")
    written = dict(re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", text, flags=re.MULTILINE))
    files = [each for each in (ROOT / folder).iterdir() if each.suffix in {".js", ".css"}]
    assert {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in files} == written
