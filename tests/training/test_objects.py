"""Names of code of the user's own."""

import pytest

from acs_fast.training.objects import names_object


@pytest.mark.parametrize(
    ("spec", "own"),
    [("own.py:net", True), ("a.b:net", True), ("timm:resnet18", False), ("hf:mnist", False), ("small", False),
     ("C:/data", False)],
)  # fmt: skip
def test_what_names_code_of_the_users_own(spec, own):
    assert names_object(spec) is own
