"""The engine's own threads: how they start, and how many processors each uses in an operation."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import torch

__all__ = ["is_ours", "share_of_processors", "start_missing", "use_processors"]

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


def is_ours(thread: threading.Thread) -> bool:
    """Whether a thread is one of an engine, whichever."""
    return thread.name.startswith("omnibind-")


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
    with _one_at_a_time:
        default: list[int] = []
        _in_a_new_thread(lambda: default.append(torch.get_num_threads()))
        torch.get_num_threads()  # a thread that never asked takes the default later, and forgets
        torch.set_num_threads(count)
        _in_a_new_thread(lambda: torch.set_num_threads(default[0]))


def _in_a_new_thread(do: Callable[[], object]) -> None:
    """Not by an executor, which takes nothing more once the program has come to its end."""
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join()
