"""Real pictures that ship inside the installed packages, and honest ways to change them. Nothing is downloaded.

All pictures are floats in [0, 1]: grey ones [N, H, W], coloured ones [N, 3, H, W]. Every draw takes a numpy generator.
"""

from workbench.demos.data.changes import blend, blur, dilate, invert, occlude, paint, rotate
from workbench.demos.data.digits import Digits, mnist, uci
from workbench.demos.data.photographs import patches
from workbench.demos.data.thumbnails import png, pngs

__all__ = [
    "Digits",
    "blend",
    "blur",
    "dilate",
    "invert",
    "mnist",
    "occlude",
    "paint",
    "patches",
    "png",
    "pngs",
    "rotate",
    "uci",
]
