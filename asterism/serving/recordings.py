"""Decode uploaded recordings, after checking that their kind, rate and length are allowed.

Three containers are taken, WAV, FLAC and OGG; no other decoder sees the bytes, whatever a file calls itself.
"""

from __future__ import annotations

import io

from asterism.serving.limits import Limits, Refused
from asterism.sound.recordings import Recording, decoded, library
from asterism.sound.settings import SoundError

CODINGS = ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS")
"""What samples may be coded as; old codecs for telephones are not decoded for strangers."""

MOST_RATE = 192_000
"""Samples a second."""

MOST_CHANNELS = 8

UNKNOWN = 2**62
"""Samples beyond this mean that the header does not say how many there are."""


def read_upload(data: bytes, limits: Limits) -> Recording:
    """Decode an uploaded recording, mixed down.

    Args:
        data: the bytes of a WAV, FLAC or OGG file.

    Raises:
        Refused: 400 an empty file, 413 too many bytes or seconds, 415 another kind of file, 422 a broken recording, or one that
            cannot be used: too short, of too low or too high a rate, silent, with samples that are no numbers.
    """
    if not data:
        raise Refused(400, "the recording is empty: 0 bytes arrived")
    if len(data) > limits.upload_bytes:
        raise Refused(413, f"the recording has {len(data):,} bytes; at most {limits.upload_bytes:,} are taken")
    kind = _kind(data)
    soundfile, most = library("soundfile"), limits.recording_seconds
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as opened:
            rate, channels, frames, coding = opened.samplerate, opened.channels, opened.frames, opened.subtype
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise Refused(422, f"the {kind} recording cannot be used: its header is damaged; export it again") from error
    if coding not in CODINGS:
        raise Refused(415, f"the {kind} recording is coded as {coding}; save it as plain PCM, FLAC or OGG Vorbis")
    if rate > MOST_RATE or channels > MOST_CHANNELS:
        raise Refused(
            422,
            f"the recording has {channels} channels of {rate:,} samples a second; at most {MOST_CHANNELS} of {MOST_RATE:,} "
            "are taken",
        )
    if most * rate < frames < UNKNOWN:
        raise Refused(413, f"the recording is longer than {most:g} s; send it in parts")
    try:
        return decoded(io.BytesIO(data), most)
    except SoundError as error:
        raise Refused(422, f"the {kind} recording cannot be used: {error}") from error


def _kind(data: bytes) -> str:
    """Return which of the three containers the bytes begin like."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "WAV"
    if data[:4] == b"fLaC":
        return "FLAC"
    if data[:4] == b"OggS":
        return "OGG"
    known = {b"ID3": "an MP3", b"\x1aE\xdf\xa3": "a WebM or Matroska file", b"FORM": "an AIFF"}
    found = next((name for start, name in known.items() if data.startswith(start)), None)
    if data[0] == 0xFF and len(data) > 1 and data[1] & 0xE6 == 0xE2:  # A frame's sync word, and layer III.
        found = "an MP3"
    if data[4:8] == b"ftyp":
        found = "an MP4 or M4A file"
    if data.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        found = "a picture"
    raise Refused(
        415, f"this is not a WAV, FLAC or OGG recording{f' but {found}' if found else ''}; convert it to one of these"
    )
