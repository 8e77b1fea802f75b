"""Plays the instruments of a General MIDI soundfont, a note each.

    python instruments.py     # the lines of labels/sounds_train.csv that name the notes

A note is played by TinySoundFont without effects: the same bytes each time.
"""

from __future__ import annotations

import csv
import importlib
import sys
import wave
from pathlib import Path
from typing import Any

__all__ = ["PERCUSSION", "PROGRAMS", "render_notes"]

RATE = 44100
HELD, FADING = 1.5, 1.0
"""Seconds with the key down, and after it."""
PROGRAMS: dict[int, tuple[str, int]] = {
    0: ("a piano", 60),
    3: ("a honky-tonk piano", 72),
    4: ("an electric piano", 72),
    6: ("a harpsichord", 60),
    7: ("a clavichord", 72),
    8: ("a celesta", 84),
    9: ("a glockenspiel", 84),
    10: ("a music box", 72),
    11: ("a vibraphone", 72),
    12: ("a marimba", 60),
    13: ("a xylophone", 72),
    14: ("a tubular bell ringing", 72),
    15: ("a dulcimer", 72),
    16: ("an electric organ", 72),
    19: ("a church organ", 60),
    20: ("a reed organ", 72),
    21: ("an accordion", 60),
    22: ("a harmonica", 72),
    23: ("a tango accordion", 72),
    24: ("a nylon string guitar", 60),
    25: ("a steel string guitar", 60),
    26: ("a jazz guitar", 60),
    27: ("an electric guitar", 60),
    28: ("an electric guitar, muted", 60),
    29: ("an overdriven electric guitar", 60),
    30: ("a distorted electric guitar", 60),
    32: ("an acoustic bass", 40),
    33: ("an electric bass guitar", 40),
    36: ("a bass guitar slapped", 47),
    38: ("a synthesizer bass note", 47),
    40: ("a violin", 69),
    41: ("a viola", 57),
    42: ("a cello", 45),
    43: ("a double bass played with a bow", 40),
    44: ("strings playing tremolo", 72),
    45: ("strings plucked", 72),
    46: ("a harp", 60),
    47: ("a timpani drum", 43),
    48: ("an orchestra of strings", 72),
    52: ("a choir singing aah", 72),
    53: ("voices singing ooh", 72),
    55: ("an orchestra hit", 72),
    56: ("a trumpet", 67),
    57: ("a trombone", 50),
    58: ("a tuba", 40),
    59: ("a muted trumpet", 67),
    60: ("a french horn", 55),
    61: ("a brass section", 72),
    64: ("a soprano saxophone", 72),
    65: ("an alto saxophone", 63),
    66: ("a tenor saxophone", 57),
    67: ("a baritone saxophone", 50),
    68: ("an oboe", 72),
    69: ("an english horn", 64),
    70: ("a bassoon", 48),
    71: ("a clarinet", 62),
    72: ("a piccolo", 86),
    73: ("a flute", 72),
    74: ("a recorder", 79),
    75: ("a pan flute", 72),
    76: ("blowing over a bottle", 72),
    77: ("a bamboo flute", 72),
    78: ("a person whistling", 79),
    79: ("an ocarina", 74),
    80: ("a synthesizer tone", 72),
    88: ("a synthesizer pad", 60),
    104: ("a sitar", 55),
    105: ("a banjo", 60),
    106: ("a shamisen", 60),
    107: ("a koto", 60),
    108: ("a thumb piano", 72),
    109: ("bagpipes", 65),
    110: ("a fiddle", 69),
    111: ("a shawm, a reed instrument", 72),
    112: ("a small bell tinkling", 72),
    113: ("an agogo bell", 72),
    114: ("a steel drum", 72),
    115: ("a wood block", 72),
    116: ("a taiko drum", 60),
    117: ("a tom-tom drum", 60),
    122: ("waves on the seashore", 60),
    123: ("birds tweeting", 67),
    124: ("a telephone ringing", 67),
    125: ("a helicopter", 60),
    126: ("a crowd applauding", 60),
    127: ("a gunshot", 55),
}
"""Caption and pitch by program; left out: what sounds like another, and what says nothing."""
PERCUSSION: dict[int, str] = {
    35: "a bass drum",
    37: "a snare drum struck on the rim",
    38: "a snare drum",
    39: "hands clapping",
    41: "a floor tom-tom drum",
    42: "a closed hi-hat cymbal",
    44: "a hi-hat cymbal played with the foot pedal",
    46: "an open hi-hat cymbal",
    49: "a crash cymbal",
    50: "a high tom-tom drum",
    51: "a ride cymbal",
    52: "a chinese cymbal",
    53: "the bell of a ride cymbal",
    54: "a tambourine",
    55: "a splash cymbal",
    56: "a cowbell",
    58: "a vibraslap rattling",
    60: "a high bongo drum",
    61: "a low bongo drum",
    63: "a high conga drum",
    64: "a low conga drum",
    65: "a timbale drum",
    67: "an agogo bell",
    69: "a cabasa shaker",
    70: "maracas shaking",
    71: "a short whistle",
    72: "a long whistle",
    73: "a short scrape of a guiro",
    74: "a long scrape of a guiro",
    75: "claves clicking",
    76: "a wood block",
    79: "a cuica, a friction drum",
    80: "a muted triangle",
    81: "a triangle ringing",
}
"""Caption by key of the drum kit."""


def render_notes(soundfont: Path, into: Path, player: Path) -> None:
    """Writes every note of `PROGRAMS` and `PERCUSSION` as a WAV file.

    Args:
        soundfont: an `.sf2` file.
        into: an existing folder.
        player: where the package `tinysoundfont` lies.
    """
    sys.path.insert(0, str(player))
    synth: Any = importlib.import_module("tinysoundfont").Synth(samplerate=RATE)
    font = synth.sfload(str(soundfont), gain=-3.0)
    for program, (_, pitch) in PROGRAMS.items():
        synth.program_select(0, font, 0, program)
        _play(synth, pitch, into / f"{program:03d}-{pitch}.wav")
    synth.program_select(0, font, 128, 0, True)
    for key in PERCUSSION:
        _play(synth, key, into / f"drum-{key}.wav")


def _play(synth: Any, pitch: int, out: Path) -> None:
    synth.sounds_off()
    synth.generate(RATE)
    synth.noteon(0, pitch, 100)
    parts = [bytes(synth.generate(int(HELD * RATE)))]
    synth.noteoff(0, pitch)
    parts.append(bytes(synth.generate(int(FADING * RATE))))
    stereo = memoryview(b"".join(parts)).cast("f")
    mono = ((stereo[k] + stereo[k + 1]) / 2 for k in range(0, len(stereo), 2))
    whole = (max(-32767, min(32767, round(32767 * one))) for one in mono)
    with wave.open(str(out), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(b"".join(one.to_bytes(2, "little", signed=True) for one in whole))


def main() -> None:
    lines = csv.writer(sys.stdout, lineterminator="\n")
    for program, (caption, pitch) in PROGRAMS.items():
        path = f"notes/{program:03d}-{pitch}.wav"
        lines.writerow(("fluid-soundfont-gm", path, caption, "MIT", ""))
    for key, caption in PERCUSSION.items():
        lines.writerow(("fluid-soundfont-gm", f"notes/drum-{key}.wav", caption, "MIT", ""))


if __name__ == "__main__":
    main()
