"""Turns the photograph that matplotlib ships into inputs of an image model.

    python scripts/photo.py MODEL.onnx PHOTO.npy CALIBRATION.npz

PHOTO.npy is the whole photograph, CALIBRATION.npz a few crops of it and their mirror images. Both are float32
[N, C, H, W] as the model wants them, grey if it has one channel, with pixel p as (p - 128) / 128.
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import onnx
from matplotlib import cbook
from PIL import Image, ImageOps

CROPS = 8


def input_shape(model: onnx.ModelProto) -> tuple[int, int, int]:
    """Channels, height and width of the model's first input, which must be [N, C, H, W]."""
    weights = {tensor.name for tensor in model.graph.initializer}
    first = next(value for value in model.graph.input if value.name not in weights)
    dims = [dim.dim_value for dim in first.type.tensor_type.shape.dim]
    if len(dims) != 4 or min(dims[1:]) < 1 or dims[1] not in (1, 3):
        sys.exit(f"photo: input {first.name!r} has shape {dims}; an image [N, 1 or 3, H, W] is needed")
    return dims[1], dims[2], dims[3]


def as_input(image: Image.Image, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """The image, cropped in its centre to the aspect ratio of the model, as float32 [C, H, W]."""
    channels, height, width = shape
    fitted = ImageOps.fit(image.convert("L" if channels == 1 else "RGB"), (width, height))
    pixels = np.asarray(fitted, dtype=np.float32).reshape(height, width, channels)
    centre = np.float32(128)
    return ((pixels - centre) / centre).transpose(2, 0, 1)


def crops(image: Image.Image) -> list[Image.Image]:
    """Views of the same picture, ever closer to its upper centre, where the face is."""
    width, height = image.size
    margins = [i / (3 * CROPS) for i in range(CROPS)]
    views = [
        image.crop((int(width * m), int(height * m / 2), int(width * (1 - m)), int(height * (1 - m)))) for m in margins
    ]
    return views + [ImageOps.mirror(view) for view in views]


def main(model_path: str, photo_path: str, calibration_path: str) -> None:
    shape = input_shape(onnx.load(model_path, load_external_data=False))
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        np.save(photo_path, as_input(image, shape)[np.newaxis])
        np.savez(calibration_path, x=np.stack([as_input(view, shape) for view in crops(image)]))
    print(f"Grace Hopper at {shape[2]} x {shape[1]} pixels, {shape[0]} channel(s) -> {photo_path}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
