"""Floating-point formats of training: what their bits can say, from two numbers.

A format has 1 sign bit, e exponent bits and m mantissa bits. IEEE 754 keeps the highest exponent
for infinity and NaN; E4M3 gives up infinity and keeps one bit pattern for NaN, so that its largest
number is 448 instead of 240 (Micikevicius et al., FP8 Formats for Deep Learning, 2022, Table 1).
PyTorch 2.13 stores anything larger as 448.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Format:
    """A binary floating-point format; `infinity` is False for E4M3."""

    name: str
    exponent_bits: int
    mantissa_bits: int
    dtype: torch.dtype
    infinity: bool = True

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """What is subtracted from the exponent field."""
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def largest(self) -> float:
        """The largest finite number."""
        if self.infinity:
            return (2 - 2.0**-self.mantissa_bits) * 2.0**self.bias
        return (2 - 2 * 2.0**-self.mantissa_bits) * 2.0 ** (self.bias + 1)

    @property
    def smallest_normal(self) -> float:
        """Below it, precision falls with the number."""
        return 2.0 ** (1 - self.bias)

    @property
    def smallest(self) -> float:
        """The smallest positive number, a subnormal one."""
        return self.smallest_normal * 2.0**-self.mantissa_bits

    @property
    def epsilon(self) -> float:
        """The distance from 1 to the next larger number."""
        return 2.0**-self.mantissa_bits


FP32 = Format("fp32", 8, 23, torch.float32)
FP16 = Format("fp16", 5, 10, torch.float16)
BF16 = Format("bf16", 8, 7, torch.bfloat16)
E4M3 = Format("fp8 E4M3", 4, 3, torch.float8_e4m3fn, infinity=False)
E5M2 = Format("fp8 E5M2", 5, 2, torch.float8_e5m2)
FORMATS = (FP32, FP16, BF16, E4M3, E5M2)


def page_data(numbers: dict[str, float]) -> dict:
    """What the explorable of a number's bits needs; `numbers` are {words: value} to start from."""
    return {
        "formats": [
            {
                "name": f.name,
                "exponent": f.exponent_bits,
                "mantissa": f.mantissa_bits,
                "infinity": f.infinity,
            }
            for f in FORMATS
        ],
        "numbers": [[words, value] for words, value in numbers.items()],
    }
