"""Rows of several tensors side by side in one buffer."""

from __future__ import annotations

import torch

from acs_fast._util.blocks import block_bytes, blocks
from tests.util.columns import columns


def test_blocks_share_a_buffer_without_overlap() -> None:
    buffer = torch.zeros(block_bytes(columns(), 5), dtype=torch.uint8)
    for block, column in zip(blocks(buffer, columns(), 5), columns(), strict=True):
        block.copy_(column[:5])
    for block, column in zip(blocks(buffer, columns(), 5), columns(), strict=True):
        assert torch.equal(block, column[:5])
    assert len(buffer) % 8 == 0
