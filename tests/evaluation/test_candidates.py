"""What makes outputs for evaluation does so as in use."""

from __future__ import annotations

import pytest
import torch

from asterism.evaluation.candidates import Generator
from asterism.inference.apply import steps
from asterism.inference.styles import Target
from tests.helpers.recipes import SIZE
from tests.helpers.translators import translator


@pytest.mark.parametrize("words", ["Blond_Hair", "Glasses=no", "sad"])
def test_a_model_told_the_change_is_measured_as_it_is_used(words: str) -> None:
    """It is told nothing of the labels that stay, and of alternatives all; else its scores are not those of its users."""
    model = translator("aster")
    labels = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]])  # Black_Hair, Blond_Hair, Glasses, happy, sad
    (edit,) = edits = model.parse(words)
    x = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    wanted, _, _ = edit.apply(model.model.space, labels)
    ((told, _),) = steps(model, x, Target(edits), labels)
    measured = Generator("translated", model.recipe, model.machine, [], 0)
    torch.testing.assert_close(measured._told(wanted, edit.dataset, labels), told, rtol=0, atol=0)
    if edit.dataset == 0:  # There are labels that stay.
        assert (told != measured._told(wanted, edit.dataset)).any()
