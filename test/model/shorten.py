# SPDX-License-Identifier: BSD-3-Clause
"""Makes a list shorter as long as it stays what it is: delta debugging."""

import time


def shorten(items, fails, seconds):
    """A part of `items`, in the same order, that fails, too.

    `fails(part)` is how many of the first items of the part are needed for its failure, 0 when it
    does not fail. When the time is enough nothing can be left out of what is returned: without any
    one of its items it does not fail.
    """
    end = time.monotonic() + seconds
    items = items[:fails(items)]
    size = len(items) // 2
    while size and time.monotonic() < end:
        start, is_shorter = 0, False
        while start < len(items) and time.monotonic() < end:
            part = items[:start] + items[start + size:]
            needed = fails(part) if part else 0
            if needed:
                items, is_shorter = part[:needed], True
            else:
                start += size
        if size > 1:
            size //= 2
        elif not is_shorter:
            break
    return items
