"""The demo: a folder of texts, pictures, sounds and shapes that find one another, on one page."""

from omnibind.demo.folder import default_media
from omnibind.demo.show import DemoResult, figures_table, run

__all__ = ["DemoResult", "default_media", "figures_table", "run"]
