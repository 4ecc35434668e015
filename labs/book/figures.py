"""One plot style for the book: readable on light and dark pages and by the colour-blind."""

from __future__ import annotations

import matplotlib as mpl
from cycler import cycler

INK = "#808080"  # mid-grey: enough contrast on white and on the dark theme's ground
COLORS = ["#3b8fd6", "#d9822b", "#2aa17a", "#c06bb3", "#8a8a8a", "#b8a12b"]
SEQUENTIAL = "viridis"
HATCHES = ["", "//", "..", "xx", "\\\\", "++"]  # a second cue beside colour, for bars


def use_style() -> None:
    """Set matplotlib's defaults. A transparent ground lets one PNG serve both themes."""
    mpl.rcParams.update(
        {
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "figure.figsize": (7.2, 3.6),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.titlecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": INK,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "axes.titlesize": 11,
            "axes.labelsize": 10.5,
            "xtick.labelsize": 9.5,
            "ytick.labelsize": 9.5,
            "legend.fontsize": 9.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "hatch.linewidth": 0.5,
            "axes.prop_cycle": cycler(color=COLORS),
        }
    )
