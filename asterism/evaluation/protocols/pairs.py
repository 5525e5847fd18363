"""`pairs`: translations against the true partners of their sources, for systems that learn from pairs.

An error alone says little: pictures that are plain or all alike have small ones. So the same measures are taken of what
needs no learning: the source itself, the mean training picture of the target, its mean colour, and the partner of the training
source that is nearest. A blurred answer has a small error and a large FID, which is why both stand here.

Where sources are label maps, a classifier of pixels is trained on the real training pairs and asked for the map of every output
(the FCN score of arXiv:1611.07004, Section 4.1). The row of real pictures says how good it is itself.
"""

from __future__ import annotations

from asterism.evaluation import truth_measures as m
from asterism.evaluation.measures import FID, KID, KID_SPREAD
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.protocols.truth import true_edits

ORDER = (("real", "copy"), ("real", "mean"), ("real", "nearest"), ("real", "translated"), ("translated", "random"))

PROTOCOL = Protocol(
    name="pairs",
    version=1,
    about="error to the true partner beside that of the mean picture and of the nearest training pair; LPIPS, FID, KID",
    parameters=Parameters(real_pictures=0),  # A drawn part would tear training pairs apart.
    tasks=true_edits("pairs"),
    kinds=("translated", "nearest", "mean", "colour", "copy", "real"),
    measures=(
        (m.L1, ORDER),
        (m.ERROR_RATIO, ORDER),
        (m.ERROR_TO_MEAN, (("mean", "colour"), *ORDER)),
        (m.PSNR, ORDER),
        (m.SSIM, ORDER),
        (m.PIXEL_ACCURACY, (("real", "copy"), ("real", "mean"), ("translated", "random"))),
        (m.MEAN_IOU, (("real", "copy"), ("real", "mean"), ("translated", "random"))),
        (m.LPIPS, ORDER),
        (FID, (("real", "copy"), ("real", "mean"), ("real", "random"), ("translated", "random"))),
        (KID, (("real", "copy"), ("real", "mean"), ("real", "random"), ("translated", "random"))),
        (KID_SPREAD, ()),
        (m.RETRIEVED, (("real", "random"), ("real", "copy"), ("translated", "random"))),
    ),
)
