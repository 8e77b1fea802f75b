"""Decoded media: what a text, picture, sound or shape is once it has been read.

One file a modality, each with the three functions its card names: `load(source) -> media`,
`claims(object) -> bool` and `digest(media) -> bytes`. Whatever cannot be used is a `MediaError`.
"""
