"""What this process may use of the machine; asked before torch is imported."""

from __future__ import annotations

import os


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # macOS and Windows do not have it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
