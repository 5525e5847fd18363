"""What a network says of a picture size that it cannot take."""

from asterism.errors import AsterismError


class SizeError(AsterismError, ValueError):
    """A picture size that a network cannot take; the message names the nearest sizes that it can."""
