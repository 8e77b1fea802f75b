"""What plugin authors and omnibind's own tests need: a contract, toy spaces, sample media."""

from omnibind.testing import samples
from omnibind.testing.contract import SpaceContract
from omnibind.testing.toyspace import ToySpace, toy_recipe, toy_registry, with_files

__all__ = ["SpaceContract", "ToySpace", "samples", "toy_recipe", "toy_registry", "with_files"]
