"""For plugin authors: the contract as inheritable tests, toy spaces, sample media."""

from omnibind.testing.contract import SpaceContract
from omnibind.testing.samples import pictures, samples, shapes, sounds, texts, write_samples
from omnibind.testing.toys import Toy, toy_recipe, toy_registry, toy_space

__all__ = [
    "SpaceContract",
    "Toy",
    "pictures",
    "samples",
    "shapes",
    "sounds",
    "texts",
    "toy_recipe",
    "toy_registry",
    "toy_space",
    "write_samples",
]
