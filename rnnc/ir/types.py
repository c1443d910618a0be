"""Tensor types: shape, element type and quantisation of a value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

DType = Literal["float32", "int8", "int16", "int32"]
Array = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.signedinteger[npt.NBitBase]]

ELEMENT_BYTES: dict[DType, int] = {"float32": 4, "int8": 1, "int16": 2, "int32": 4}
INTEGER_RANGE: dict[DType, tuple[int, int]] = {
    "int8": (-128, 127),
    "int16": (-32768, 32767),
    "int32": (-(2**31), 2**31 - 1),
}


@dataclass(frozen=True, slots=True)
class Quant:
    """real = scale * (stored - zero_point), one scale for the whole tensor (as in TensorFlow Lite)."""

    scale: float
    zero_point: int = 0


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape without the batch axis; every value of a scheduled graph is (height, width, channels).

    ``quant`` on a float32 type is the quantisation that the value will get; on an integer type it is the one
    it has.
    """

    shape: tuple[int, ...]
    dtype: DType = "float32"
    quant: Quant | None = None

    @property
    def height(self) -> int:
        return self.shape[0]

    @property
    def width(self) -> int:
        return self.shape[1]

    @property
    def channels(self) -> int:
        return self.shape[2]

    @property
    def elements(self) -> int:
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def bytes(self) -> int:
        return self.elements * ELEMENT_BYTES[self.dtype]

    @property
    def row_bytes(self) -> int:
        return self.bytes // self.shape[0]

    @property
    def required_quant(self) -> Quant:
        """The quantisation of a value that must have one by now; raises ValueError where a pass forgot it."""
        if self.quant is None:
            raise ValueError(f"the type {self} has no quantisation")
        return self.quant

    def with_quant(self, quant: Quant | None) -> TensorType:
        return replace(self, quant=quant)

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return replace(self, shape=shape)
