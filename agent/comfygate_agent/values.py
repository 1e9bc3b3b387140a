"""Numbers as they go into an answer: finite, not negative, and rounded; what is no such number is left out."""

import math

MEBIBYTE = 1024 * 1024


def number(value, digits=1):
    """Returns the value rounded, or None where it is no number that can be told."""
    if isinstance(value, bool):
        return None
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(value) or value < 0:
        return None
    return round(value, digits)


def mebibytes(size):
    """Returns a size in bytes as units of 1 048 576 bytes."""
    size = number(size)
    return None if size is None else round(size / MEBIBYTE, 1)


def percent(value):
    """Returns a share from 0 to 100."""
    value = number(value)
    return None if value is None or value > 100 else value


def present(fields):
    """Returns the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
