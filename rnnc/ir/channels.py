"""What is known of the channels of a value: what they can hold, and which of them stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rnnc.ir.types import INTEGER_RANGE, TensorType

BoolArray = npt.NDArray[np.bool_]
ChannelIndex = npt.NDArray[np.int64]
"""Channel numbers; -1 for none."""


@dataclass(frozen=True, eq=False)
class ChannelRange:
    """The lowest and highest stored integer of each channel, over all positions and all inputs: int64 [C]."""

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]

    @classmethod
    def full(cls, type_: TensorType) -> ChannelRange:
        """All that the element type can hold."""
        low, high = INTEGER_RANGE[type_.dtype]
        return cls(np.full(type_.channels, low, np.int64), np.full(type_.channels, high, np.int64))

    @property
    def constant(self) -> BoolArray:
        """Channels that hold one and the same value everywhere: bool [C]."""
        return np.equal(self.low, self.high)

    def at(self, channels: ChannelIndex) -> ChannelRange:
        return ChannelRange(self.low[channels], self.high[channels])


@dataclass(frozen=True, eq=False)
class KeptChannels:
    """Which channels of an input stay, bool [C], and what was known of all of them."""

    mask: BoolArray
    ranges: ChannelRange
