# SPDX-License-Identifier: Apache-2.0
"""The lines that a benchmark prints."""

import statistics
from collections.abc import Sequence


def figure(name: str, value: float, unit: str, ratio: float | None = None, to: str = "") -> None:
    line = f"figure {name} {value:.4g} {unit}"
    if ratio is not None:
        line += f" ratio {ratio:.3g} to {to}"
    print(line, flush=True)


def figures(name: str, values: Sequence[float], unit: str, base: Sequence[float] = (), to: str = "") -> None:
    """The median of runs, with its ratio to the median of @base; and the maximum, with the same ratio."""
    below = statistics.median(base) if base else None
    for suffix, value in ("", statistics.median(values)), (".max", max(values)):
        figure(name + suffix, value, unit, value / below if below else None, to)


def spread(name: str, values: Sequence[float], unit: str) -> None:
    """A line of the table: the values' median, extremes and number."""
    print(f"  {name:<44} median {statistics.median(values):9.4f}  min {min(values):9.4f}  max {max(values):9.4f} {unit}"
          f"  n {len(values)}", flush=True)
