"""Likeness of two utterances of different lengths: mel-cepstra aligned in time, and how they move.

Shapes: B mel bands, n and m frames, K cepstra. Log-mels are log10 of magnitudes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asterism.sound.recordings import library

CEPSTRA = 24
"""K: as many as speech is usually compared by; the first, the loudness, does not count."""

SPAN = 64
"""Frames of which a modulation spectrum is taken; half of them lie in the next span too."""


def mel_cepstra(frames: Tensor) -> Tensor:
    """Return the mel-cepstra c_1 to c_K, float64 [K, n], of a log-mel [B, n].

    c_k = 2 / B sum_b ln X_b cos(pi k (b + 1/2) / B), so that ln X_b = c_0 / 2 + sum_k c_k cos(pi k (b + 1/2) / B).
    """
    bands = frames.shape[0]
    at = math.pi * (torch.arange(bands, dtype=torch.float64) + 0.5) / bands
    basis = torch.cos(torch.arange(1, CEPSTRA + 1, dtype=torch.float64)[:, None] * at) * 2 / bands
    return basis @ (frames.double() * math.log(10))


def cepstral_distortion(x: Tensor, y: Tensor) -> float:
    """Return the mel-cepstral distortion of two log-mels [B, n] and [B, m] in dB, the mean over frames aligned by DTW.

    10 / ln 10 sqrt(2 sum_k (c_k - c'_k)^2) for each pair of frames (Kubichek 1993) on the path of the least sum.
    """
    a, b = mel_cepstra(x), mel_cepstra(y)
    cost = 10 / math.log(10) * math.sqrt(2) * torch.cdist(a.T, b.T)
    _, path = library("librosa").sequence.dtw(C=cost.numpy())
    return float(cost[path[:, 0].copy(), path[:, 1].copy()].mean())


def modulation_spectrum(frames: Tensor) -> Tensor:
    """Return the power of the movements of each cepstrum in dB, float64 [K, SPAN / 2], of a log-mel [B, n]; n is at least SPAN.

    The mean over half-overlapping spans under a Hann window, frequencies from the first above 0.
    """
    spans = mel_cepstra(frames).unfold(1, SPAN, SPAN // 2)  # [K, spans, SPAN]
    spans = (spans - spans.mean(2, keepdim=True)) * torch.hann_window(SPAN, dtype=torch.float64)
    return 10 * torch.log10(torch.fft.rfft(spans).abs().square().mean(1)[:, 1:] + 1e-12)


def modulation_distance(x: Tensor, y: Tensor) -> float:
    """Return the root mean squared difference of two modulation spectra in dB (Takamichi et al. 2016), of log-mels as above."""
    return float((modulation_spectrum(x) - modulation_spectrum(y)).square().mean().sqrt())


def contour_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Return how the loudness of frames goes together: Pearson's correlation, float64 [N], of log-mels [N, C, B, n] each."""
    a, b = (t.double().flatten(1, 2).mean(1) for t in (x, y))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt().clamp(min=1e-12)
