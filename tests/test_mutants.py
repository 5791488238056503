"""The list of mutants stays true: what it breaks is there, and the tests that are to notice are."""

import pytest

from mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_a_mutant_has_its_place_and_its_tests(mutant: Mutant) -> None:
    source = (ROOT / "src" / "alexandria" / mutant.file).read_text("utf-8")
    assert mutant.old in source
    assert mutant.old not in mutant.new or mutant.old == ""
    assert all((ROOT / tests).is_file() for tests in mutant.tests)
