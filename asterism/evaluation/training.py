"""Evaluation during training: the quick protocol on validation pictures chooses the best checkpoint."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from pathlib import Path

import torch

from asterism.data.dataset import Datasets
from asterism.data.listing import DataError
from asterism.engine.trainer import TrainingError
from asterism.evaluation.candidates import DivergedError, Generator
from asterism.evaluation.evaluate import BATCH, EvaluationSetup
from asterism.evaluation.judge import accuracy, trained_judge, verdict
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.protocols import protocol as named
from asterism.evaluation.protocols.base import Protocol
from asterism.evaluation.protocols.quick import CRITERION, GENERATION, PROTOCOL
from asterism.evaluation.summary import over_all
from asterism.machine import Machine
from asterism.recipes import recipe_class
from asterism.recipes.base import Recipe
from asterism.recipes.settings import Settings
from asterism.signals import Stopped


class QuickEvaluation:
    """Measures a recipe while it trains; what the engine asks for at intervals.

    The first measurement begins with the training of the classifier that judges, unless there is one for these data: whoever
    starts a run sees pictures before it.

    Args:
        set_up: makes the pictures and networks that it measures with; None if their classifier is too often wrong.
        machine: where.
        protocol: of the quick ones, that for the recipe.
        say: tells a person.

    Attributes:
        criterion: the metric by which checkpoints are compared.
        better: `higher` or `lower`.
        measured_by: the protocol, its version, the hash of the classifier that judges, and the phase of the training, since a
            later one supersedes the models of those before it; empty before the first measurement.
    """

    criterion = CRITERION
    better = next(m.better for m, _ in PROTOCOL.measures if m.name == CRITERION)
    measured_by = ""

    def __init__(
        self,
        set_up: Callable[[], EvaluationSetup | None],
        machine: Machine,
        protocol: Protocol,
        say: Callable[[str], None],
    ) -> None:
        self.set_up, self.machine, self.protocol, self.say = functools.cache(set_up), machine, protocol, say

    def measure(self, recipe: Recipe) -> dict[str, float | None]:
        """Return the quick protocol's means over all targets, for a recipe with the weights that it now has.

        Weights that have diverged have none; there are no numbers at all where no classifier can tell.
        """
        try:
            floor = self.set_up()
        except Stopped as stopped:  # The signal is for the run too, which saves what it has.
            self.say(str(stopped))
            signal.raise_signal(stopped.number)
            return {}
        except TrainingError as error:  # Its memory ran out, say, which is no reason to lose the run.
            self.say(f"not measured: {error}")
            return {}
        if floor is None:
            return {}
        by = floor.judge.digest if floor.judge else ""
        self.measured_by = "/".join((self.protocol.name, str(self.protocol.version), by, recipe.phase))
        parameters = self.protocol.parameters
        kind = "generated" if self.protocol.generates else "translated"
        system = Generator(kind, recipe, self.machine, floor.sets, parameters.seed)
        try:
            record = floor.measure(self.protocol, parameters, recipe, [system], kinds=())
        except DivergedError:
            self.say("not measured: the outputs hold infinite or NaN values")
            return {m.name: None for m, _ in self.protocol.measures}
        values: dict[str, float | None] = over_all(record)[0]["values"]
        return values


def quick_evaluation(
    run: Path, settings: Settings, datasets: Datasets, machine: Machine, say: Callable[[str], None]
) -> QuickEvaluation | None:
    """Return the evaluation of a run that is about to train; None, with the reason said, where there can be none."""
    try:
        sets = [Pictures(held, datasets.picture, say) for held in datasets.splits["val"] if len(held)]
    except DataError as error:
        say(f"{error}: no measurement during training; the last checkpoint is kept")
        return None
    if not sets:
        say("no validation pictures: no measurement during training; the last checkpoint is kept")
        return None
    if not datasets.space.num_labels:
        say(
            "without labels there is no classifier whose features could be compared: nothing is measured while training, and "
            "the last checkpoint is kept (asterism evaluate --extractor takes another network)"
        )
        return None
    protocol = GENERATION if named(recipe_class(settings.name).protocol).generates else PROTOCOL
    what = "generated pictures" if protocol.generates else "validation pictures of each dataset"
    say(
        f"every {settings.train.evaluate_every:,} steps {protocol.name} measures {protocol.parameters.pictures:,} {what}; the "
        f"checkpoint with the best {CRITERION} is kept (asterism evaluate measures it in full)"
    )

    def set_up() -> EvaluationSetup | None:
        training = datasets.splits["train"]
        with torch.random.fork_rng():  # The classifier's first weights are no business of the run's.
            judge = trained_judge(run, settings, datasets.space, training, machine, {})
        floor = EvaluationSetup(datasets.space, sets, training, judge, machine, datasets.picture, None, BATCH, say)
        said = verdict(accuracy(judge, sets, datasets.space, BATCH), judge)
        if not said["void"]:
            return floor
        say(
            f"the classifier is right on {said['accuracy']:.1%} of the labels of validation pictures, {said['needed']:.0%} are "
            "needed: no measurement during training; the last checkpoint is kept"
        )
        return None

    return QuickEvaluation(set_up, machine, protocol, say)
