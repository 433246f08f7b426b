"""The signs of masked gradients."""

from acs_fast.evaluation import figures


def test_pgd_weaker_than_one_step_is_noticed():
    signs = figures.masking(0.6, 0.5, 0.5, 0.0, {})["signs"]
    assert len(signs) == 1
    assert "more than the 50.0 % of one step" in signs[0]
    after = {"apgd-ce": 0.5, "apgd-t": 0.5, "fab-t": 0.5, "square": 0.4}
    signs = figures.masking(0.5, 0.5, 0.5, 0.0, after)["signs"]
    assert len(signs) == 1
    assert "breaks 10.0 % that gradient attacks did not" in signs[0]
