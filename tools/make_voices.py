"""Make a corpus of voices with exact truth: sentences that `espeak-ng` speaks in several voices of other pitch and timbre.

    python tools/make_voices.py OUT

OUT becomes a folder per split and voice, OUT/train/anna/s034.wav. No two voices speak the same sentence in `train`. Every
voice speaks all sentences of `val` and of `test`, so that each recording there has its true conversion under the same name. The
result is a function of the sentences, the options and the version of espeak-ng (Debian's package of that name).

The sentences of voices.txt are from Carroll's "Alice's Adventures in Wonderland" (1865), Baum's "The Wonderful Wizard of Oz"
(1900) and Aesop's fables as told by Jacobs (1894), all in the public domain and some of them shortened, and a few of our own.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

SENTENCES = Path(__file__).parent / "voices.txt"

VOICES: dict[str, tuple[str, int]] = {  # Between 80 and 310 Hz, beside each other as far apart as may be.
    "bruno": ("en-us+m7", 15),
    "clara": ("en-us+f2", 75),
    "dorian": ("en-us+m6", 80),
    "elsa": ("en-us+f4", 99),
    "greta": ("en-us+f5", 40),
    "jack": ("en-us+Jacky", 50),
    "karl": ("en-us+klatt2", 45),
    "ines": ("en-us+steph", 50),
}
"""Name -> voice and variant of espeak-ng, and pitch from 0 to 99."""


def plan(sentences: Sequence[str], voices: Sequence[str], val: int, test: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield (split, voice, name, sentence) of every recording; held-out sentences lie evenly among the others.

    Raises:
        ValueError: fewer sentences than voices and splits need.
    """
    held = val + test
    if len(sentences) < held + len(voices):
        raise ValueError(f"{len(sentences)} sentences are too few for {len(voices)} voices and {held} held-out sentences")
    out = {len(sentences) * i // held: "val" if i * val % held < val else "test" for i in range(held)}
    number = 0
    for place, sentence in enumerate(sentences):
        name = f"s{place + 1:03}"
        if place in out:
            yield from ((out[place], voice, name, sentence) for voice in voices)
        else:
            yield "train", voices[number % len(voices)], name, sentence
            number += 1


def speak(sentence: str, voice: str, speed: int, target: Path) -> None:
    """Write a sentence as a WAV file in one of `VOICES`."""
    variant, pitch = VOICES[voice]
    target.parent.mkdir(parents=True, exist_ok=True)
    words = ["espeak-ng", "-v", variant, "-p", str(pitch), "-s", str(speed), "-w", str(target), sentence]
    subprocess.run(words, check=True, capture_output=True)


def main() -> None:
    """Make the corpus and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the corpus, which must not be there")
    parser.add_argument("--voices", type=int, default=4, choices=range(2, len(VOICES) + 1), help="how many (default 4)")
    parser.add_argument("--val", type=int, default=8, help="validation sentences, which all voices speak (default 8)")
    parser.add_argument("--test", type=int, default=24, help="test sentences, which all voices speak (default 24)")
    parser.add_argument("--speed", type=int, default=165, help="words a minute (default 165)")
    parser.add_argument("--sentences", type=Path, default=SENTENCES, help="a sentence a line (default: those beside this file)")
    args = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        parser.error("espeak-ng is not there: install it (on Debian and Ubuntu: apt-get install espeak-ng)")
    if args.out.exists():
        parser.error(f"{args.out} already exists: name a folder that is not there")
    sentences = [line.strip() for line in args.sentences.read_text(encoding="utf-8").splitlines() if line.strip()]
    spoken = list(plan(sentences, list(VOICES)[: args.voices], args.val, args.test))
    for split, voice, name, sentence in spoken:
        speak(sentence, voice, args.speed, args.out / split / voice / f"{name}.wav")
    for split in ("train", "val", "test"):
        print(f"{split}: {sum(part == split for part, *_ in spoken)} recordings")


if __name__ == "__main__":
    main()
