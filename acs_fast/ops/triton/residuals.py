"""Residuals at the logits: one launch, any number of classes, float32 accumulation."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

WIDEST = 4096  # classes that one program holds at once


@triton.jit
def log_normaliser(x_ptr, C, BLOCK: tl.constexpr):
    """Maximum and log of the sum of exponentials of C logits, in one pass."""
    top = -float("inf")
    total = 0.0
    for start in range(0, C, BLOCK):
        c = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + c, mask=c < C, other=-float("inf")).to(tl.float32)
        new = tl.maximum(top, tl.max(x, 0))
        total = total * tl.exp(top - new) + tl.sum(tl.exp(x - new), 0)
        top = new
    return top + tl.log(total)


@triton.jit
def cross_entropy_kernel(logits_ptr, labels_ptr, out_ptr, row_stride, C, BLOCK: tl.constexpr):
    """One sample: out = softmax(logits) - onehot(label)."""
    sample = tl.program_id(0).to(tl.int64)
    row = logits_ptr + sample * row_stride
    label = tl.load(labels_ptr + sample)
    normaliser = log_normaliser(row, C, BLOCK)
    for start in range(0, C, BLOCK):
        c = start + tl.arange(0, BLOCK)
        x = tl.load(row + c, mask=c < C, other=-float("inf")).to(tl.float32)
        r = tl.exp(x - normaliser) - tl.where(c == label, 1.0, 0.0)
        tl.store(out_ptr + sample * C + c, r, mask=c < C)


@triton.jit
def trades_kernel(
    clean_ptr, adversarial_ptr, labels_ptr, out_ptr, clean_stride, adversarial_stride, C, beta, BLOCK: tl.constexpr,
):  # fmt: skip
    """One sample: out [2, C] = p - onehot + beta p (log(p / q) - KL) and beta (q - p)."""
    sample = tl.program_id(0).to(tl.int64)
    clean, adversarial = clean_ptr + sample * clean_stride, adversarial_ptr + sample * adversarial_stride
    label = tl.load(labels_ptr + sample)
    norm_p = log_normaliser(clean, C, BLOCK)
    norm_q = log_normaliser(adversarial, C, BLOCK)
    kl = 0.0
    for start in range(0, C, BLOCK):
        c = start + tl.arange(0, BLOCK)
        log_p = tl.load(clean + c, mask=c < C, other=0.0).to(tl.float32) - norm_p
        log_q = tl.load(adversarial + c, mask=c < C, other=0.0).to(tl.float32) - norm_q
        kl += tl.sum(tl.where(c < C, tl.exp(log_p) * (log_p - log_q), 0.0), 0)
    out = out_ptr + sample * 2 * C
    for start in range(0, C, BLOCK):
        c = start + tl.arange(0, BLOCK)
        log_p = tl.load(clean + c, mask=c < C, other=0.0).to(tl.float32) - norm_p
        log_q = tl.load(adversarial + c, mask=c < C, other=0.0).to(tl.float32) - norm_q
        p = tl.exp(log_p)
        r = p - tl.where(c == label, 1.0, 0.0) + beta * p * (log_p - log_q - kl)
        s = beta * (tl.exp(log_q) - p)
        tl.store(out + c, r, mask=c < C)
        tl.store(out + C + c, s, mask=c < C)


def cross_entropy_residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """As `acs_fast.ops.reference.residuals.cross_entropy_residuals`."""
    x = logits if logits.stride(-1) == 1 else logits.contiguous()
    out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    if len(x):
        block = min(WIDEST, triton.next_power_of_2(x.shape[1]))
        cross_entropy_kernel[(len(x),)](x, labels.contiguous(), out, x.stride(0), x.shape[1], BLOCK=block)
    return out


def trades_residuals(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> Tensor:
    """As `acs_fast.ops.reference.residuals.trades_residuals`."""
    p, q = (x if x.stride(-1) == 1 else x.contiguous() for x in (clean, adversarial))
    samples, classes = p.shape
    out = torch.empty(samples, 2, classes, dtype=torch.float32, device=p.device)
    if samples:
        block = min(WIDEST, triton.next_power_of_2(classes))
        trades_kernel[(samples,)](
            p, q, labels.contiguous(), out, p.stride(0), q.stride(0), classes, float(beta), BLOCK=block
        )
    return out
