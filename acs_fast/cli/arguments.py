"""Options of the command line out of dataclasses: names, types, groups, help and defaults follow from the fields."""

from __future__ import annotations

import argparse
import json
import types
from collections.abc import Collection
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from acs_fast._util.options import option


@dataclass(frozen=True)
class DeviceOptions:
    """Where a command computes."""

    device: str | None = option(None, "cpu, cuda, cuda:1 ...", group="device", shown="cuda where there is one")


def add_options(parser: argparse.ArgumentParser, kind: type, only: Collection[str] | None = None) -> None:
    """Add an option for every field of a dataclass that `option` made, or for some of them."""
    hints = get_type_hints(kind)
    groups = {group.title: group for group in parser._action_groups}
    for each in fields(kind):
        if not each.metadata or (only is not None and each.name not in only):
            continue
        title = each.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        groups[title].add_argument(flag(each), dest=each.name, **_argument(each, hints[each.name]))


def given(arguments: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Those fields of a dataclass that the command line gave."""
    return {each.name: vars(arguments)[each.name] for each in fields(kind) if each.name in vars(arguments)}


def flag(each: Field[Any]) -> str:
    """The option of a field, such as --batch-size."""
    return "--" + (each.metadata["flag"] or each.name).replace("_", "-")


def read_settings(path: Path, kind: type) -> dict[str, Any]:
    """Settings that an earlier run wrote, or a JSON file of the same names.

    Raises:
        ValueError: unreadable, no JSON object, or a name that is no setting.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"--config {path}: cannot be read ({error})") from error
    settings = content.get("config", content) if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise ValueError(f"--config {path}: must be a JSON object of settings; got {type(content).__name__}")
    known = {each.name for each in fields(kind)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"--config {path}: has settings that do not exist: {', '.join(unknown)}")
    return settings


def _argument(each: Field[Any], hint: Any) -> dict[str, Any]:
    """The keyword arguments of add_argument for a field."""
    shown, metavar = each.metadata["shown"], each.metadata["metavar"]
    default = each.default if shown is None else shown
    common: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(each.metadata["help"], default)}
    if hint is bool:
        return {**common, "action": argparse.BooleanOptionalAction if default else "store_true"}
    kind = _without_none(hint)
    if get_origin(kind) is tuple:
        kind, common = get_args(kind)[0], {**common, "nargs": "*"}
    if each.metadata["choices"]:
        return {**common, "choices": each.metadata["choices"]}
    return {**common, "type": kind, **({} if metavar is None else {"metavar": metavar})}


def _help(text: str, default: Any) -> str:
    if default is not None and default is not False:
        text += f" (default: {'on' if default is True else default})"
    return text.replace("%", "%%")


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint
