"""Options follow from the fields of a dataclass."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from acs_fast._util.options import option
from acs_fast.cli.arguments import add_options, flag, given, read_settings
from acs_fast.cli.train import Job
from acs_fast.training import RunConfig


@dataclass(frozen=True)
class Example:
    count: int = option(3, "how many", group="numbers")
    share: float | None = option(None, "how much, in %", group="numbers", shown="half")
    eps: tuple[float, ...] = option((), "several", group="numbers")
    kind: str = option("a", "which", choices=("a", "b"), flag="sort")
    on: bool = option(True, "whether")
    off: bool = option(False, "whether not")
    place: Path = option(Path("here"), "where")


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_options(parser, Example)
    return parser, given(parser.parse_args(arguments), Example)


def test_only_what_is_given_is_set():
    assert parse()[1] == {}
    assert Example(**parse("--count", "4", "--sort", "b", "--no-on", "--off", "--eps", "0.1", "0.2")[1]) == Example(
        count=4, kind="b", on=False, off=True, eps=[0.1, 0.2]
    )
    assert parse("--share", "0.5", "--place", "there")[1] == {"share": 0.5, "place": Path("there")}


def test_help_has_groups_and_every_default():
    text = parse()[0].format_help()
    for part in ("numbers:", "how many (default: 3)", "how much, in % (default: half)", "--sort {a,b}",
                 "which (default: a)", "whether (default: on)", "whether not\n", "where (default: here)"):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize("kind", [RunConfig, Job])
def test_every_setting_is_an_option_with_help(kind):
    parser = argparse.ArgumentParser()
    add_options(parser, kind)
    for each in kind.__dataclass_fields__.values():
        assert each.metadata["help"], each.name
        assert flag(each) in parser.format_help()


def test_settings_are_read_back(tmp_path):
    path = tmp_path / "job.json"
    config = RunConfig(eps=0.2, epochs=5, method="craig")
    for content in (config.as_dict(), {"config": config.as_dict(), "seeds": 2}):
        path.write_text(json.dumps(content))
        assert RunConfig(**read_settings(path, RunConfig)) == config
    path.write_text('{"learning": 1}')
    with pytest.raises(ValueError, match="has settings that do not exist: learning"):
        read_settings(path, RunConfig)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="must be a JSON object of settings; got list"):
        read_settings(path, RunConfig)
    with pytest.raises(ValueError, match="cannot be read"):
        read_settings(tmp_path / "nothing", RunConfig)
