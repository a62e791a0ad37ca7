"""One pair of image folders and one finished tiny run for all tests of the training room."""

from pathlib import Path

import pytest
import tinyrun


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """``simulated/`` and ``real/`` with 24 small PNGs each."""
    folder = tmp_path_factory.mktemp("images")
    for seed, name in enumerate(("simulated", "real")):
        tinyrun.write_images(folder / name, 24, seed)
    return folder


@pytest.fixture(scope="session")
def straight(images, tmp_path_factory) -> Path:
    """The workdir of an undisturbed run by the real ``python train.py``; read, never written."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    tinyrun.run(workdir, tinyrun.flags(images))
    return workdir
