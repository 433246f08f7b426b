"""Delivery of rows of tensors to the processes of a group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acs_fast._util.blocks import block_bytes, blocks, put
from acs_fast._util.exchange import Exchange

BYTES_AT_ONCE = 1 << 23  # that a rank sends in one meeting; bounds the buffers
ROWS_AT_ONCE = 512  # that are copied within a rank: what passes through stays in a cache


def deliver(exchange: Exchange, owner: Tensor, key: Tensor, *columns: Tensor) -> list[Tensor]:
    """Send every row to its owner, where the rows that come are in ascending order of their keys.

    Args:
        owner: [n] the rank to which each row goes.
        key: [n] int64, different for every row of any rank.
        columns: [n, ...] tensors whose rows travel with their keys.

    Returns:
        the keys, and the columns.
    """
    order = torch.argsort(key).cpu()
    if exchange.size == 1:
        return [x[order.to(x.device)] for x in (key, *columns)]
    order = order[torch.argsort(owner.cpu()[order], stable=True)]
    going = torch.bincount(owner.cpu(), minlength=exchange.size)
    coming = exchange.gather(going)[:, exchange.rank]
    going_to, coming_from = going.tolist(), coming.tolist()
    keys = torch.cat(_swapped(exchange, key.cpu()[order].split(going_to), coming_from))
    by_key = torch.argsort(keys)
    place = torch.empty_like(by_key)
    place[by_key] = torch.arange(len(by_key))
    outs = [c.new_empty(len(place), *c.shape[1:]) for c in columns]
    _send(exchange, columns, outs, order.split(going_to), place.split(coming_from))
    return [keys[by_key].to(key.device), *outs]


def _swapped(exchange: Exchange, parts: Sequence[Tensor], sizes_in: list[int]) -> list[Tensor]:
    """Numbers for every rank, and those from each; what is for this rank itself stays here."""
    others = [part[:0] if r == exchange.rank else part for r, part in enumerate(parts)]
    sizes_in = [0 if r == exchange.rank else size for r, size in enumerate(sizes_in)]
    arrived = parts[0].new_empty(sum(sizes_in))
    found = exchange.swap(torch.cat(others), [len(part) for part in others], sizes_in, arrived)
    return [parts[r] if r == exchange.rank else part for r, part in enumerate(found)]


def _send(
    exchange: Exchange, columns: Sequence[Tensor], outs: Sequence[Tensor], rows: Sequence[Tensor],
    places: Sequence[Tensor],
) -> None:  # fmt: skip
    """Send rows in as many meetings as keep the buffers small.

    Args:
        rows: for each rank, which rows it gets.
        places: for each rank, which places its rows take in `outs`.
    """
    bytes_out = sum(block_bytes(columns, len(x)) for r, x in enumerate(rows) if r != exchange.rank)
    pieces = max(1, int(exchange.maximum(torch.tensor(-(-bytes_out // BYTES_AT_ONCE)))))
    most = max(sum(block_bytes(columns, -(-len(x) // pieces)) for x in lists) for lists in (rows, places))
    packed, arrived = (torch.empty(most, dtype=torch.uint8, device=exchange.device) for _ in range(2))
    for piece in range(pieces):
        out, into = ([_part(x, piece, pieces) for x in lists] for lists in (rows, places))
        _copy(columns, outs, out[exchange.rank], into[exchange.rank])
        out[exchange.rank] = into[exchange.rank] = out[exchange.rank][:0]
        sizes_out, sizes_in = ([block_bytes(columns, len(x)) for x in lists] for lists in (out, into))
        sent, coming = packed[: sum(sizes_out)], arrived[: sum(sizes_in)]
        for which, chunk in zip(out, sent.split(sizes_out), strict=True):
            for column, block in zip(columns, blocks(chunk, columns, len(which)), strict=True):
                put(column, block, which)
        for which, chunk in zip(into, exchange.swap(sent, sizes_out, sizes_in, coming), strict=True):
            for block, result in zip(blocks(chunk, columns, len(which)), outs, strict=True):
                result[which.to(result.device)] = block.to(result.device)


def _copy(columns: Sequence[Tensor], outs: Sequence[Tensor], rows: Tensor, places: Tensor) -> None:
    """Rows that stay here, to their places."""
    for some, at in zip(rows.split(ROWS_AT_ONCE), places.split(ROWS_AT_ONCE), strict=True):
        for column, out in zip(columns, outs, strict=True):
            out[at.to(out.device)] = column[some.to(column.device)]


def _part(rows: Tensor, piece: int, pieces: int) -> Tensor:
    """Of a list of rows the part that belongs to one of several meetings."""
    return rows[len(rows) * piece // pieces : len(rows) * (piece + 1) // pieces]
