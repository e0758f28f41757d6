"""Profile of a function by operator."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from torch.profiler import ProfilerActivity, profile

TOP = 8


def top_operators(work: Callable[[], object], times: int = 3, *, on_gpu: bool = False) -> list[str]:
    """Return the operators that take most of the CPU or GPU time of `work`, after one warm-up run."""
    work()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(times):
            work()
    microseconds = attrgetter("self_device_time_total" if on_gpu else "self_cpu_time_total")
    events = sorted(profiler.key_averages(), key=microseconds, reverse=True)
    total = sum(map(microseconds, events))
    return [
        f"{100 * microseconds(event) / total:.0f} % {event.key}: {event.count // times} calls, "
        f"{microseconds(event) / times / 1000:.3g} ms"
        for event in events[:TOP]
    ]
