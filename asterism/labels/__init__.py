"""Labels: what is said of pictures, and what a generator is told."""

from asterism.labels.group import LabelError, LabelGroup
from asterism.labels.space import LabelSpace

__all__ = ["LabelError", "LabelGroup", "LabelSpace"]
