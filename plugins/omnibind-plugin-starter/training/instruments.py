"""Plays the instruments of a General MIDI soundfont, a few notes each.

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
LOW, MIDDLE, HIGH = (33, 40, 47), (48, 60, 72), (60, 72, 84)
PROGRAMS: dict[int, tuple[str, tuple[int, ...]]] = {
    0: ("a piano", MIDDLE),
    3: ("a honky-tonk piano", MIDDLE[1:]),
    4: ("an electric piano", MIDDLE[1:]),
    6: ("a harpsichord", MIDDLE),
    7: ("a clavichord", MIDDLE[1:]),
    8: ("a celesta", HIGH[1:]),
    9: ("a glockenspiel", HIGH[1:]),
    10: ("a music box", HIGH),
    11: ("a vibraphone", MIDDLE[1:]),
    12: ("a marimba", MIDDLE),
    13: ("a xylophone", HIGH),
    14: ("a tubular bell ringing", HIGH[:2]),
    15: ("a dulcimer", MIDDLE[1:]),
    16: ("an electric organ", MIDDLE[1:]),
    19: ("a church organ", MIDDLE),
    20: ("a reed organ", MIDDLE[1:]),
    21: ("an accordion", MIDDLE),
    22: ("a harmonica", HIGH),
    23: ("a tango accordion", MIDDLE[1:]),
    24: ("a nylon string guitar", MIDDLE),
    25: ("a steel string guitar", MIDDLE),
    26: ("a jazz guitar", MIDDLE[:2]),
    27: ("an electric guitar", MIDDLE),
    28: ("an electric guitar, muted", MIDDLE[:2]),
    29: ("an overdriven electric guitar", MIDDLE[:2]),
    30: ("a distorted electric guitar", MIDDLE[:2]),
    32: ("an acoustic bass", LOW),
    33: ("an electric bass guitar", LOW),
    36: ("a bass guitar slapped", LOW[1:]),
    38: ("a synthesizer bass note", LOW[1:]),
    40: ("a violin", (62, 69, 76)),
    41: ("a viola", (50, 57, 64)),
    42: ("a cello", (38, 45, 52)),
    43: ("a double bass played with a bow", LOW),
    44: ("strings playing tremolo", MIDDLE[1:]),
    45: ("strings plucked", MIDDLE[1:]),
    46: ("a harp", MIDDLE),
    47: ("a timpani drum", (36, 43, 48)),
    48: ("an orchestra of strings", MIDDLE[1:]),
    52: ("a choir singing aah", MIDDLE[1:]),
    53: ("voices singing ooh", MIDDLE[1:]),
    55: ("an orchestra hit", MIDDLE[1:]),
    56: ("a trumpet", (60, 67, 74)),
    57: ("a trombone", (43, 50, 57)),
    58: ("a tuba", LOW),
    59: ("a muted trumpet", (60, 67)),
    60: ("a french horn", (48, 55, 62)),
    61: ("a brass section", MIDDLE[1:]),
    64: ("a soprano saxophone", (64, 72)),
    65: ("an alto saxophone", (56, 63)),
    66: ("a tenor saxophone", (50, 57)),
    67: ("a baritone saxophone", (43, 50)),
    68: ("an oboe", HIGH),
    69: ("an english horn", (57, 64)),
    70: ("a bassoon", (41, 48, 55)),
    71: ("a clarinet", (55, 62, 72)),
    72: ("a piccolo", (79, 86)),
    73: ("a flute", HIGH),
    74: ("a recorder", (72, 79)),
    75: ("a pan flute", HIGH),
    76: ("blowing over a bottle", HIGH[:2]),
    77: ("a bamboo flute", HIGH[:2]),
    78: ("a person whistling", (72, 79, 84)),
    79: ("an ocarina", (67, 74, 81)),
    80: ("a synthesizer tone", MIDDLE[1:]),
    88: ("a synthesizer pad", MIDDLE[1:2]),
    104: ("a sitar", (48, 55, 62)),
    105: ("a banjo", MIDDLE),
    106: ("a shamisen", MIDDLE[:2]),
    107: ("a koto", MIDDLE),
    108: ("a thumb piano", HIGH[:2]),
    109: ("bagpipes", (58, 65, 70)),
    110: ("a fiddle", (62, 69)),
    111: ("a shawm, a reed instrument", HIGH[:2]),
    112: ("a small bell tinkling", HIGH[:2]),
    113: ("an agogo bell", HIGH[:2]),
    114: ("a steel drum", HIGH),
    115: ("a wood block", HIGH[:2]),
    116: ("a taiko drum", (48, 60)),
    117: ("a tom-tom drum", (48, 60)),
    122: ("waves on the seashore", (60,)),
    123: ("birds tweeting", (60, 67)),
    124: ("a telephone ringing", (60, 67)),
    125: ("a helicopter", (60,)),
    126: ("a crowd applauding", (60,)),
    127: ("a gunshot", (60, 55)),
}
"""Caption and pitches by program; left out: what sounds like another, and what says nothing."""
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
    for program, (_, pitches) in PROGRAMS.items():
        synth.program_select(0, font, 0, program)
        for pitch in pitches:
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
    for program, (caption, pitches) in PROGRAMS.items():
        for pitch in pitches:
            path = f"notes/{program:03d}-{pitch}.wav"
            lines.writerow(("fluid-soundfont-gm", path, caption, "MIT", ""))
    for key, caption in PERCUSSION.items():
        lines.writerow(("fluid-soundfont-gm", f"notes/drum-{key}.wav", caption, "MIT", ""))


if __name__ == "__main__":
    main()
