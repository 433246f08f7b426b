"""Memory format, compilation and precision change how a step is computed and not what."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

import acs_fast as acs
from acs_fast.cli.main import main
from acs_fast.training import engine as engines
from acs_fast.training import models
from acs_fast.training.engine import Engine

CPU = torch.device("cpu")
OBJECTIVES = {
    "pgd": lambda: acs.PGD(0.1, 0.03, 2, seed=0),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.03, 2, seed=0),
    "fgsm-gradalign": lambda: acs.GradAlignFGSM(0.1, seed=0),
}


def statistics(x):
    return x.mean((0, 2, 3)), x.std((0, 2, 3))


def step(engine, objective, wrap=None, name="resnet18"):
    """Adversarial examples, losses and gradients of one training step."""
    x, y = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0)).double(), torch.arange(6) % 4
    torch.manual_seed(0)
    model = engine.laid_out(models.build(name, statistics(x), 4, 4).double())
    runnable, x = (wrap or engine.runnable)(model), engine.laid_out(x)
    model.train()
    x_adv = objective.perturb(runnable, x, y)
    losses = objective.per_sample_loss(runnable, x, x_adv, y)
    losses.mean().backward()
    return x_adv, losses, {k: p.grad for k, p in model.named_parameters()}, model


def same(a, b):
    torch.testing.assert_close(a[0], b[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(a[1], b[1], rtol=1e-8, atol=1e-10)
    for name, gradient in a[2].items():
        torch.testing.assert_close(gradient, b[2][name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_channels_last_computes_the_same(name):
    plain, fast = (step(Engine(channels_last=on), OBJECTIVES[name]()) for on in (False, True))
    same(plain, fast)
    assert fast[0].is_contiguous(memory_format=torch.channels_last)
    assert fast[3].entrance.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_models_compile_as_one_graph_and_compute_the_same(name):
    def wrap(model):
        return torch.compile(model, backend="aot_eager", fullgraph=True)

    torch._dynamo.reset()
    same(step(Engine(), OBJECTIVES[name]()), step(Engine(), OBJECTIVES[name](), wrap))


def test_batches_of_every_size_and_mode_need_few_graphs():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    x = torch.rand(8, 1, 8, 8)
    model = models.build("small", statistics(x), 3, 2)
    runnable = torch.compile(model, backend=backend)
    objective = acs.TRADES(6.0, 0.1, 0.03, 2, seed=0)
    for _ in range(3):
        for n in (8, 5, 8, 3, 7):
            model.train()
            v, y = x[:n], torch.arange(n) % 3
            objective.per_sample_loss(runnable, v, objective.perturb(runnable, v, y), y).mean().backward()
    assert len(compiled) <= 8


def test_layout_is_for_images_only():
    engine = Engine()
    flat = torch.rand(4, 5)
    assert engine.laid_out(flat) is flat
    assert engine.laid_out(torch.rand(2, 3, 4, 5)).is_contiguous(memory_format=torch.channels_last)
    assert Engine(channels_last=False).laid_out(nn.Conv2d(3, 4, 3)).weight.is_contiguous()


BROKEN_CONVOLUTION = """
import sys, torch
from acs_fast.training.engine import Engine
torch.set_num_threads(1)
engine = Engine()
model = torch.nn.Conv2d(2, 4, 1, stride=2)
if sys.argv[1] == "ours":
    engine = engine.suited(model, torch.device("cpu"))
model = engine.laid_out(model)
for _ in range(20):
    model(engine.laid_out(torch.rand(32, 2, 8, 8)).requires_grad_()).sum().backward()
"""


@pytest.mark.ordinary_memory
def test_convolutions_that_torch_gets_wrong_run_in_the_ordinary_format(tmp_path):
    """Where channels_last corrupts memory under a checking allocator, what the engine makes of it does not."""
    checking = {
        **os.environ, "LD_PRELOAD": "libc_malloc_debug.so.0", "GLIBC_TUNABLES": "glibc.malloc.check=3",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }  # fmt: skip

    def status(which):
        command = [sys.executable, "-c", BROKEN_CONVOLUTION, which]
        return subprocess.run(command, env=checking, capture_output=True, check=False).returncode

    if status("torch") == 0:
        pytest.skip("this torch's convolution is sound, or there is no checking allocator")
    assert status("ours") == 0


def test_channels_last_stays_where_it_is_right():
    models_of = {"small": Engine(), "resnet18": Engine(channels_last=False)}
    for name, expected in models_of.items():  # the first shortcut of a narrow resnet has 2 channels
        assert Engine().suited(models.build(name, statistics(torch.rand(2, 1, 8, 8)), 3, 2), CPU) == expected
    wide = models.build("resnet18", statistics(torch.rand(2, 1, 8, 8)), 3, 8)
    assert Engine().suited(wide, CPU) == Engine()
    assert Engine().suited(nn.Conv2d(2, 4, 1, stride=2), torch.device("cuda")) == Engine()


def test_half_precision_losses_and_residuals_are_taken_in_single_precision():
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
    torch.manual_seed(0)
    model = models.build("small", statistics(x), 3, 4).eval()
    engine = Engine(amp=True)
    for name, objective in {**OBJECTIVES, "perceptual": lambda: acs.PerceptualAT(0.3, 2, seed=0)}.items():
        with engine.precision(CPU):
            low = objective().perturb(model, x, y)
            losses = objective().per_sample_loss(model, x, low, y)
        assert losses.dtype == torch.float32, name
        assert low.dtype == torch.float32, name
        torch.testing.assert_close(losses, objective().per_sample_loss(model, x, low, y), rtol=0.05, atol=0.05)
    with engine.precision(CPU):
        g = acs.last_layer_gradients(model, [(x, y)], OBJECTIVES["fgsm-gradalign"]())
    assert g.dtype == torch.float32


def test_amp_is_refused_where_it_would_be_imitated(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(engines, "has_bfloat16", lambda device: False)
    with pytest.raises(RuntimeError, match="--amp needs bfloat16 arithmetic, which cpu does not have"):
        Engine(amp=True).check(CPU)
    Engine().check(CPU)
    assert main(["train", "--amp", "--device", "cpu", "--output", str(tmp_path / "out"), "--quiet"]) == 2
    assert "--amp needs bfloat16" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--no-channels-last"], ["--amp"]])
def test_runs_with_every_switch(tmp_path, options):
    if "--amp" in options and not engines.has_bfloat16(CPU):
        pytest.skip("this processor has no bfloat16 arithmetic")
    small = ["--limit", "120", "--width", "2", "--steps", "1", "--epochs", "2", "--period", "1", "--test-limit", "8"]
    assert main(["train", *small, *options, "--quiet", "--output", str(tmp_path)]) == 0
