"""How many processors one of the engine's own threads uses inside an operation."""

from __future__ import annotations

import os
import threading

import torch

__all__ = ["share_of_processors", "use_processors"]


def share_of_processors(parts: int) -> int:
    """Processors for each of several threads that compute side by side; at least one."""
    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1) // parts)


def use_processors(count: int) -> None:
    """Has this thread use so many processors inside an operation; other threads stay as they are.

    Threads that decode, preprocess and compute side by side would otherwise each start as many
    as there are processors, and wait for one another.
    """
    default = torch.get_num_threads()
    torch.set_num_threads(count)
    # torch takes what was set last as the default of threads to come: put that back
    after = threading.Thread(target=torch.set_num_threads, args=(default,))
    after.start()
    after.join()
