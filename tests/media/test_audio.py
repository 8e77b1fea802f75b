"""Sounds of every kind become samples and a rate; bad ones are refused with a reason."""

import io
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch

from omnibind.errors import MediaError
from omnibind.media import audio, sound_files
from omnibind.media.audio import Audio


def refused(source):
    with pytest.raises(MediaError) as refusal:
        audio.load(source)
    assert refusal.value.next_step
    return refusal.value.found[0]


def wav(samples, rate=16_000, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def test_every_kind_of_file_becomes_samples_in_minus_one_to_one(audio_files, tone):
    for name, data in audio_files.items():
        sound = audio.load(data)
        assert float(sound.waveform.abs().max()) <= 1, name
        assert sound.seconds == pytest.approx(len(tone) / 16_000, rel=0.25) or "webm" in name, name
        assert float(sound.waveform.std()) == pytest.approx(tone.std(), rel=0.2), name


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_32"])
def test_a_file_its_bytes_its_integers_and_its_floats_are_equal(tone, tmp_path, subtype):
    data = wav(tone, subtype=subtype)
    (tmp_path / "a.wav").write_bytes(data)
    kind = "int16" if subtype == "PCM_16" else "int32"
    integers = soundfile.read(io.BytesIO(data), dtype=kind)[0]
    floats = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    sources = [tmp_path / "a.wav", str(tmp_path / "a.wav"), data, (integers, 16_000)]
    sources += [(floats, 16_000.0), (torch.tensor(floats), 16_000), (floats[:, None], 16_000)]
    sources += [audio.load(data)]
    assert len({audio.digest(audio.load(source)) for source in sources}) == 1


def test_stereo_keeps_its_channels_whichever_axis_comes_first(tone):
    stereo = np.stack([tone, -tone / 2])
    sounds = [
        audio.load(source) for source in (wav(stereo.T), (stereo, 16_000), (stereo.T, 16_000))
    ]
    assert [tuple(sound.waveform.shape) for sound in sounds] == [(2, 8000)] * 3
    assert torch.allclose(sounds[0].mono(16_000), torch.tensor(tone) / 4, atol=1e-4)


def test_mp3_and_opus_keep_their_length(audio_files):
    assert [audio.load(audio_files[name]).waveform.shape[1] for name in ("a.mp3", "a.opus")] == [
        8000,
        8000,
    ]


def test_8_bit_and_half_precision_samples_are_taken():
    assert audio.load((np.array([0, 128, 255], np.uint8), 8000)).waveform[0, :2].tolist() == [-1, 0]
    assert audio.load((torch.full((9,), 0.5).half(), 8000)).waveform[0, 0] == 0.5


def test_silence_is_a_sound():
    assert audio.load((np.zeros(100), 8000)).waveform.abs().max() == 0


def test_overshoot_is_clipped_and_another_scale_is_refused(tone):
    assert audio.load((tone * 4, 16_000)).waveform.max() == 1
    assert "expected [-1, 1]" in refused((tone * 32768, 16_000))


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (np.zeros(0), 8000, "length is zero"),
        (np.array([0, np.nan]), 8000, "NaN"),
        (np.array([0, np.inf]), 8000, "NaN or infinite"),
        (np.zeros(9), 0, "a rate of 0 Hz"),
        (np.zeros(9), -8000, "a rate of -8,000 Hz"),
        (np.zeros(9), 10**9, "a rate of 1,000,000,000 Hz"),
        (np.zeros(9), 8000.5, "8000.5"),
        (np.zeros(9), float("nan"), "does not decode"),
        (np.zeros((2, 3, 4)), 8000, "no waveform of one or two axes"),
        (np.zeros((100, 200)), 8000, "100 channels"),
        (np.zeros(9, np.int64), 8000, "int64"),
        (np.broadcast_to(np.zeros(1), 1000 * 86_401), 1000, "86,401 s"),
        (np.broadcast_to(np.zeros(1), (32, 4_000_000)), 768_000, "5 s of 32 channels"),
        ("a.wav", 8000, "no waveform"),
    ],
)
def test_samples_that_are_no_sound_are_refused(samples, rate, reason):
    assert reason in refused((samples, rate))


def test_samples_without_a_rate_are_refused_with_what_to_give():
    with pytest.raises(MediaError, match=r"give \(waveform, rate in Hz\)"):
        audio.load(np.zeros(100))


def test_a_float_file_with_nan_is_refused(tone):
    assert "NaN" in refused(wav(np.where(tone > 0.4, np.nan, tone), subtype="FLOAT"))


def test_a_file_without_samples_is_refused():
    assert "length is zero" in refused(wav(np.zeros(0)))


@pytest.mark.parametrize(
    "kind", ["pcm16.wav", "float.wav", "a.flac", "vorbis.ogg", "a.opus", "a.aiff", "a.m4a"]
)
def test_a_truncated_file_is_refused(audio_files, kind):
    data = audio_files[kind]
    assert refused(data[: len(data) // 2])


def test_a_truncated_wav_is_refused_by_what_it_promised(audio_files):
    assert "cut short: it promises 16036 bytes" in refused(audio_files["pcm16.wav"][:9000])


def test_a_wav_that_a_program_wrote_to_a_pipe_is_whole(audio_files):
    data = bytearray(audio_files["pcm16.wav"])
    data[4:8] = data[40:44] = b"\xff" * 4
    assert audio.load(bytes(data)).waveform.shape == (1, 8000)


def test_a_header_that_promises_days_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(sound_files, "MAX_SECONDS", 3600)
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 1000, 2000, 2, 16)
    data = head + b"data" + struct.pack("<I", 4_000_000 * 2) + bytes(4_000_000 * 2)
    assert "4,000,000 samples (4,000 s)" in refused(data)


def test_the_limit_holds_while_streaming_too(audio_files, monkeypatch):
    monkeypatch.setattr(sound_files, "MAX_SECONDS", 0.3)
    assert "at most 0.3 s" in refused(audio_files["a.mp3"])


@pytest.mark.parametrize(
    "data", [b"This is a text, not a sound.", b"\x89PNG\r\n\x1a\n" + bytes(99)]
)
def test_a_file_that_is_no_sound_is_refused_whatever_its_name(data, tmp_path):
    (tmp_path / "a.wav").write_bytes(data)
    assert "starts with" in refused(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "data",
    [
        b"ffconcat version 1.0\nfile '{path}'\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_playlist_that_names_other_files_is_not_followed(data, audio_files, tmp_path):
    (tmp_path / "a.wav").write_bytes(audio_files["pcm16.wav"])
    assert refused(data.replace(b"{path}", str(tmp_path / "a.wav").encode()))


def test_content_decides_and_not_the_name(audio_files, tmp_path):
    (tmp_path / "a.wav").write_bytes(audio_files["a.mp3"])
    assert audio.load(tmp_path / "a.wav").rate == 16_000


def test_a_video_without_sound_is_refused(photo):
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = photo.size
        for packet in (*stream.encode(av.VideoFrame.from_image(photo)), *stream.encode(None)):
            container.mux(packet)
    assert refused(file.getvalue()) == "no sound track"


def test_mono_is_resampled_once_for_each_rate_by_all_threads(tone):
    sound = audio.load((tone, 16_000))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(sound.mono, [48_000] * 16))
    assert len({id(result) for result in results}) == 1
    assert results[0].shape == (24_000,)


def test_resampling_keeps_a_tone_in_the_band_and_removes_one_beyond_it():
    time = np.arange(44_100) / 44_100
    low, high = (audio.load((np.sin(2 * np.pi * hertz * time), 44_100)) for hertz in (440, 15_000))
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)
    assert torch.allclose(low.mono(16_000)[500:-500], expected[500:-500], atol=1e-3)
    assert high.mono(16_000)[500:-500].abs().max() < 1e-3


@pytest.mark.parametrize("rate", [1000, 44_101, 47_999, 383_999, 768_000])
def test_odd_rates_are_resampled_in_little_memory(rate):
    sound = audio.load((np.zeros(rate), rate))
    assert sound.mono(48_000).shape[0] == pytest.approx(48_000, abs=2)


def test_an_audio_goes_through_pickle(tone):
    sound = audio.load((tone, 16_000))
    assert audio.digest(pickle.loads(pickle.dumps(sound))) == audio.digest(sound)


def test_what_was_given_is_not_shared(tone):
    given = torch.tensor(tone)
    sound = audio.load((given, 16_000))
    given.zero_()
    assert sound.waveform.abs().max() > 0


def test_another_rate_or_shape_gives_another_digest():
    zeros = torch.zeros(2, 6)
    sounds = [Audio(zeros, 8000), Audio(zeros, 16_000), Audio(zeros.reshape(1, 12), 8000)]
    assert len({audio.digest(sound) for sound in sounds}) == 3


def test_sounds_are_claimed_and_pictures_and_points_are_not():
    mine = [Audio(torch.zeros(1, 9), 8000), (np.zeros(9), 8000), np.zeros(99), torch.zeros(2, 99)]
    others = [np.zeros((99, 3)), np.zeros((9, 9)), np.zeros((9, 9, 3)), (1, 2), "a.wav", b""]
    assert all(map(audio.claims, mine))
    assert not any(map(audio.claims, [*others, (np.zeros((9, 3)), np.zeros((9, 3))), None]))
