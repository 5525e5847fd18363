"""Evaluation during training: the quick protocol on validation pictures chooses the best checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asterism.data.dataset import Datasets
from asterism.data.listing import DataError
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


class QuickEvaluation:
    """Measures a recipe while it trains; what the engine asks for at intervals.

    Args:
        floor: the pictures and networks that it measures with.
        machine: where.
        protocol: of the quick ones, that for the recipe.

    Attributes:
        criterion: the metric by which checkpoints are compared.
        better: `higher` or `lower`.
        measured_by: the protocol, its version, and the hash of the classifier that judges.
    """

    criterion = CRITERION
    better = next(m.better for m, _ in PROTOCOL.measures if m.name == CRITERION)

    def __init__(self, floor: EvaluationSetup, machine: Machine, protocol: Protocol = PROTOCOL) -> None:
        self.floor, self.machine, self.protocol = floor, machine, protocol
        self.measured_by = f"{protocol.name}/{protocol.version}/{floor.judge.digest if floor.judge else ''}"

    def measure(self, recipe: Recipe) -> dict[str, float | None]:
        """Return the quick protocol's means over all targets, for a recipe with the weights that it now has.

        Weights that have diverged have none.
        """
        parameters = self.protocol.parameters
        kind = "generated" if self.protocol.generates else "translated"
        system = Generator(kind, recipe, self.machine, self.floor.sets, parameters.seed)
        try:
            record = self.floor.measure(self.protocol, parameters, recipe, [system], kinds=())
        except DivergedError:
            self.floor.say("not measured: the outputs hold infinite or NaN values")
            return {m.name: None for m, _ in self.protocol.measures}
        values: dict[str, float | None] = over_all(record)[0]["values"]
        return values


def quick_evaluation(
    run: Path, settings: Settings, datasets: Datasets, machine: Machine, say: Callable[[str], None]
) -> QuickEvaluation | None:
    """Return the evaluation of a run that is about to train; None, with the reason said, where there can be none.

    The first run on some data trains the classifier that judges.
    """
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
    judge = trained_judge(run, settings, datasets.space, datasets.splits["train"], machine, {})
    floor = EvaluationSetup(datasets.space, sets, datasets.splits["train"], judge, machine, datasets.picture, None, BATCH, say)
    said = verdict(accuracy(judge, floor.sets, datasets.space, BATCH), judge)
    if said["void"]:
        say(
            f"the classifier is right on {said['accuracy']:.1%} of the labels of validation pictures, {said['needed']:.0%} are "
            "needed: no measurement during training; the last checkpoint is kept"
        )
        return None
    protocol = GENERATION if named(recipe_class(settings.name).protocol).generates else PROTOCOL
    what = "generated pictures" if protocol.generates else "validation pictures of each dataset"
    say(
        f"every {settings.train.evaluate_every:,} steps {protocol.name} measures {protocol.parameters.pictures:,} {what}; the "
        f"checkpoint with the best {CRITERION} is kept (asterism evaluate measures it in full)"
    )
    return QuickEvaluation(floor, machine, protocol)
