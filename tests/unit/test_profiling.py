"""Costs are counted exactly, whatever kernel PyTorch would have chosen."""

import os
import subprocess
import sys
import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from labsupport.profiling.clock import measure_in_turns, measure_seconds
from labsupport.profiling.counts import count_macs, count_parameters
from labsupport.profiling.memory import memory_events

BATCH, HEADS, TOKENS, HEAD_DIM = 2, 3, 10, 8
ATTENTION_MACS = 2 * BATCH * HEADS * TOKENS * TOKENS * HEAD_DIM  # q·k, then weights·v


def attention(x):
    return F.scaled_dot_product_attention(x, x, x)


def test_count_parameters_includes_frozen_and_shared_once_but_no_buffers():
    layer = nn.Linear(4, 4)
    layer.bias.requires_grad_(False)
    model = nn.Sequential(layer, nn.BatchNorm1d(4), layer)
    assert count_parameters(model) == 4 * 4 + 4 + 2 * 4


@pytest.mark.parametrize(
    "module, shape, macs",
    [
        (nn.Linear(5, 7), (3, 5), 3 * 5 * 7),
        (nn.Conv2d(3, 8, 3, padding=1), (2, 3, 6, 4), 2 * 24 * 8 * 3 * 9),
        (nn.Conv2d(4, 8, 3, groups=2), (1, 4, 5, 5), 9 * 8 * 2 * 9),
        (nn.Sequential(nn.LayerNorm(5), nn.GELU(), nn.Softmax(-1)), (3, 5), 0),
    ],
)
def test_count_macs_by_hand(module, shape, macs):
    assert count_macs(module, torch.rand(shape)) == macs


def test_count_macs_sees_fused_attention_which_the_bare_counter_misses():
    x = torch.rand(BATCH, HEADS, TOKENS, HEAD_DIM)
    with FlopCounterMode(display=False) as bare, torch.no_grad():
        attention(x)
    # If this fails, PyTorch has mended its counter and count_macs may become simpler
    assert bare.get_total_flops() == 0
    assert count_macs(attention, x) == ATTENTION_MACS
    with torch.no_grad():
        assert count_macs(attention, x) == ATTENTION_MACS


@pytest.mark.parametrize("training", [True, False])
def test_count_macs_sees_multihead_attention_in_either_mode(training):
    dim = HEADS * HEAD_DIM
    layer = nn.TransformerEncoderLayer(dim, HEADS, 4 * dim, batch_first=True).train(training)
    projections = BATCH * TOKENS * 4 * dim * dim
    mlp = BATCH * TOKENS * 8 * dim * dim
    macs = count_macs(layer, torch.rand(BATCH, TOKENS, dim))
    assert macs == projections + ATTENTION_MACS + mlp
    assert layer.training == training
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_an_answer_makes_anew_is_counted_on_the_meta_device_too():
    def buffered(x):
        out = torch.zeros(len(x), 3)
        out[:] = x @ torch.ones(4, 3)
        return out

    assert count_macs(buffered, torch.empty(2, 4, device="meta")) == 2 * 4 * 3
    assert torch.zeros(1).device.type == "cpu"


def test_count_macs_is_the_same_on_meta_and_restores_the_switch_after_an_error():
    on_meta = torch.empty(BATCH, HEADS, TOKENS, HEAD_DIM, device="meta")
    assert count_macs(attention, on_meta) == ATTENTION_MACS
    with pytest.raises(RuntimeError):
        count_macs(nn.Linear(5, 7), torch.rand(3, 6))
    assert torch.backends.mha.get_fastpath_enabled()


def test_count_macs_counts_the_backward_pass_of_a_function():
    layer = nn.Linear(5, 7)
    x = torch.rand(3, 5, requires_grad=True)
    # Gradients for the weight and for the input cost one such product each
    assert count_macs(lambda: layer(x).sum().backward()) == 3 * (3 * 5 * 7)


def test_measure_seconds_is_near_a_known_pause_and_keeps_the_threads():
    threads = torch.get_num_threads()
    calls = []

    def pause(seconds):
        calls.append(seconds)
        time.sleep(seconds)

    seconds = measure_seconds(pause, 0.02, warmup=1, min_seconds=0.05, threads=1)
    assert 0.02 <= seconds < 0.2  # sleep never returns early; a busy machine may be late
    assert len(calls) >= 4
    assert torch.get_num_threads() == threads


def test_measure_seconds_needs_a_warm_up():
    with pytest.raises(ValueError, match="warmup=0 must be at least 1"):
        measure_seconds(time.sleep, 0, warmup=0)


def test_memory_events_are_what_tensors_take_and_give_back():
    x, y = torch.ones(10, 10), torch.ones(5)

    def twice_freed():
        a = x + x  # 400 bytes
        b = a.view(-1)[:5] + y  # 20 bytes; the view costs nothing
        del a
        return b

    assert memory_events(twice_freed) == [400, 20, -400]
    assert memory_events(torch.add, x, x) == [400]


def test_the_profiler_writes_nothing_on_stderr():
    code = (
        "import torch\nfrom labsupport.profiling.memory import memory_events\n"
        "print(memory_events(torch.neg, torch.ones(100)))"
    )
    quiet = {k: v for k, v in os.environ.items() if k != "KINETO_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], env=quiet, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[400]\n", "")


def test_turns_are_fair_and_threads_are_given_back():
    calls = []
    before = torch.get_num_threads()
    times = measure_in_turns(
        {"a": lambda x: calls.append("a"), "b": lambda x: calls.append("b")},
        0,
        seconds=0.01,
        rounds=(4, 4),
    )
    assert calls == list("ab" + "ba" + "ab" + "ba" + "ab")
    assert set(times) == {"a", "b"} and min(times.values()) >= 0
    assert torch.get_num_threads() == before
