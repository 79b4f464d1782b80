"""Profiling: what a model costs.

Rooms: `counts` (parameters, multiply-accumulates), `clock` (seconds, of functions that take
turns), `memory` (what a call takes and gives back).
"""

from labsupport.profiling.clock import measure_in_turns, measure_seconds
from labsupport.profiling.counts import count_macs, count_parameters
from labsupport.profiling.memory import memory_events

__all__ = ["count_macs", "count_parameters", "measure_in_turns", "measure_seconds", "memory_events"]
