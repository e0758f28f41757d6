"""Where the time of a function goes, operator by operator."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

TOP = 8


def top_operators(work: Callable[[], object], times: int = 3) -> list[str]:
    """The operators that take most of the processor's time in `work`, after one run to warm up."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(times):
            work()
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [
        f"{100 * event.self_cpu_time_total / total:.0f} % {event.key}: {event.count // times} calls, "
        f"{event.self_cpu_time_total / times / 1000:.3g} ms"
        for event in events[:TOP]
    ]
