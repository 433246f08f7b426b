"""A test that leaves a trace fails."""

import pytest

pytest_plugins = ["pytester"]
CONFTEST = __file__.replace("test_conftest.py", "conftest.py")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("torch.set_num_threads(torch.get_num_threads() + 1)", "torch threads"),
        ("os.environ['LEFT'] = '1'", "variable LEFT"),
        ("gc.freeze()", "frozen objects"),
        ("torch.set_default_dtype(torch.float64)", "default dtype"),
    ],
)
def test_traces_are_named(line, named, pytester):
    with open(CONFTEST) as file:
        pytester.makeconftest(file.read())
    pytester.makepyfile(f"import gc, os, torch\ndef test_it():\n    {line}\ndef test_next():\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([f"*left something behind: {named}*"])
