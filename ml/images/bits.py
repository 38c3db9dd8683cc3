"""Depths of 16-bit images. A schema needs them without the decoder."""

from typing import Final, Literal, get_args

BitDepth = Literal[10, 12, 14, 16]
"""Bits of 16-bit samples that are used: cameras and scanners of 12 bits write up to 4,095."""
BIT_DEPTHS: Final[tuple[BitDepth, ...]] = get_args(BitDepth)
