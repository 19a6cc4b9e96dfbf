"""Operations beyond those of the contract: each is skipped visibly, with the reason, and needs tests of its own."""

import pytest

import main
from tests.contract.operations import untested

pytestmark = [pytest.mark.untraced, pytest.mark.no_fast_path]

UNTESTED = untested(main.app)


@pytest.mark.parametrize("route", UNTESTED)
def test_an_operation_has_tests_of_its_own(route: str) -> None:
    pytest.skip(f"{route} has no tests here but those of permissions and of the document: {UNTESTED[route]}.")
