"""What plugin authors and omnibind's own tests need: a contract, toy spaces, sample media."""

from omnibind.testing import samples
from omnibind.testing.contract import SpaceContract
from omnibind.testing.toyspace import toy_recipe, toy_registry, toy_space, with_files

__all__ = ["SpaceContract", "samples", "toy_recipe", "toy_registry", "toy_space", "with_files"]
