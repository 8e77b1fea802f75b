"""The engine's own threads: how they start, and how many processors each uses in an operation."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["share_of_processors", "start_missing", "use_processors"]

_one_at_a_time = threading.Lock()


def start_missing(
    threads: list[threading.Thread], count: int, work: Callable[[], None], name: str
) -> None:
    """Starts daemon threads until there are so many.

    Each is listed once it runs, so that the next caller makes up for those that an interrupt of
    this one has left out.
    """
    while len(threads) < count:
        thread = threading.Thread(target=work, name=f"{name}-{len(threads)}", daemon=True)
        thread.start()
        threads.append(thread)


def share_of_processors(parts: int) -> int:
    """Processors for each of several threads that compute side by side; at least one.

    Asked by the thread that starts them: torch fixes a thread's own count when it first asks.
    """
    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1) // parts)


def use_processors(count: int) -> None:
    """Has this thread use so many processors inside an operation; other threads stay as they are.

    Threads that decode, preprocess and compute side by side would otherwise each start as many
    as there are processors, and wait for one another.
    """
    # torch takes what was set last as the default of threads to come: a new thread reads it and
    # puts it back, for this one may have begun while another was here
    with _one_at_a_time, ThreadPoolExecutor(1) as fresh:
        default = fresh.submit(torch.get_num_threads).result()
        torch.get_num_threads()  # a thread that never asked takes the default later, and forgets
        torch.set_num_threads(count)
        fresh.submit(torch.set_num_threads, default).result()
