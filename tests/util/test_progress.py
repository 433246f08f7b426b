"""The bar gives every item and is silent where nobody watches."""

from acs_fast._util.progress import progress


def test_items_come_through_and_nothing_is_printed(capsys):
    assert list(progress(range(5), "counting")) == [0, 1, 2, 3, 4]
    assert list(progress(iter("ab"), "letters", total=2, enabled=False)) == ["a", "b"]
    assert capsys.readouterr() == ("", "")
