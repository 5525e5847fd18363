"""Which picture sizes networks take, and what they say of others."""

from asterism.errors import AsterismError


class SizeError(AsterismError, ValueError):
    """A picture size that a network cannot take; the message names the nearest sizes that it can."""


def check_multiples_of_4(size: tuple[int, int], smallest: int, layers: int) -> None:
    """Refuse sides that are no multiples of 4 or too small for a discriminator of so many halving layers.

    Raises:
        SizeError: with the nearest valid size.
    """
    valid = tuple(max(smallest, round(side / 4) * 4) for side in size)
    if valid != tuple(size):
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: sides must be multiples of 4 and at least {smallest} "
            f"(recipe.discriminator_layers {layers}); the nearest is {valid[0]}x{valid[1]}"
        )


def check_square(size: tuple[int, int], low: int, high: int, who: str) -> None:
    """Refuse pictures that are not squares of a power of two from `low` to `high` pixels; `who` says which network takes what.

    Raises:
        SizeError: with the nearest valid size.
    """
    valid = [2**k for k in range(low.bit_length() - 1, high.bit_length())]
    if size[0] != size[1] or size[0] not in valid:
        nearest = min(valid, key=lambda side: abs(side - max(size)))
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: {who} squares whose side is a power of two from {low} to {high}; "
            f"the nearest is {nearest}x{nearest}"
        )
