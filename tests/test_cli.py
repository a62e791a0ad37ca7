"""Every mistake a user can make at the command line: one line that helps, exit status 2, no traceback."""

import json
import os
import shutil
import subprocess
import sys

import ml_collections
import numpy as np
import pytest
from ml_collections.config_dict import placeholder
from PIL import Image

from eyegan_jax import cli, commands
from eyegan_jax.errors import UserError


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """``simulated/`` and ``real/`` with a few images, ``empty/``, ``broken/`` and ``text/`` without a usable one."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for name in ("simulated", "real"):
        (folder / name).mkdir()
        for i in range(3):
            Image.fromarray(noise.integers(0, 256, (12, 16), dtype=np.uint8)).save(folder / name / f"{i}.png")
    for name in ("empty", "broken", "text"):
        (folder / name).mkdir()
    (folder / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "text" / "notes.txt").write_text("no image")
    (folder / "a_file").write_text("")
    return folder


@pytest.fixture
def train(monkeypatch, capsys, root, images, tmp_path):
    """``train(*flags) -> (status, last line of stderr)`` of train.py on the small folders, in this process."""
    monkeypatch.chdir(root)

    def call(*flags, config="configs/simgan.py:smoke"):
        given = {
            "--config.image_shape": "(12,16,1)",
            "--config.data.simulated.kind": "folder",
            "--config.data.simulated.dir": str(images / "simulated"),
            "--config.data.real.kind": "folder",
            "--config.data.real.dir": str(images / "real"),
            "--workdir": str(tmp_path / "run"),
        }
        given |= dict(flag.split("=", 1) for flag in flags if "=" in flag)
        rest = [flag for flag in flags if "=" not in flag]
        argv = ["train.py", f"--config={config}", *(f"{k}={v}" for k, v in given.items()), *rest]
        return outcome(lambda: cli.train_main(argv), argv, monkeypatch, capsys)

    return call


def outcome(run, argv, monkeypatch, capsys):
    """Status and last stderr line of a command; the config flags read ``sys.argv`` themselves."""
    monkeypatch.setattr(sys, "argv", argv)
    try:
        status = run()
    except SystemExit as stop:
        status = stop.code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return status, err.strip().splitlines()[-1] if err.strip() else ""


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--config.batch_sise=8"], "batch_size"),  # the nearest field is named
        (["--config.simgan.refiner.widht=8"], "width"),
        (["--config.batch_size=many"], "batch_size"),
        (["--config.batch_size=0"], "config.batch_size"),
        (["--config.batch_size=20"], "config.batch_size: expected a multiple of"),
        (["--config.run.parallel=pjit"], "expected 'pmap' or 'shard_map', found 'pjit'"),
        (["--config.system=simgen"], "did you mean 'simgan'"),
        (["--config.simgan.loss.psi=hue"], "config.simgan.loss.psi: expected one of"),
        (["--config.simgan.refiner_optimiser.name=adamm"], "expected 'sgd', 'adam' or 'muon', found 'adamm'"),
        (["--config.image_shape=(12,16,2)"], "found 2"),
        (["--config.data.backend=disk"], "expected one of auto, memory, stream"),
        (["--config.data.simulated.kind=foldr"], "foldr"),
        (["--workdri=x"], "did you mean --workdir"),
        (["--processes=2"], "--coordinator"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_setting_is_named(train, flags, expected):
    status, line = train(*flags)
    assert status == 2
    assert line.startswith("error: ") and expected in line


def test_a_wrong_setting_of_the_default_config_is_named(monkeypatch, capsys):
    argv = ["train.py", "--config.simgan.refiner.widht=8"]
    status, line = outcome(lambda: cli.train_main(argv), argv, monkeypatch, capsys)
    assert status == 2
    assert line.startswith("error: ") and "width" in line


def test_a_setting_like_no_other_is_named(monkeypatch, capsys):
    argv = ["train.py", "--config.simgan.blend=True"]
    status, line = outcome(lambda: cli.train_main(argv), argv, monkeypatch, capsys)
    assert status == 2 and line == "error: --config: expected a setting of this config, found 'blend'"


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_without_its_packages_a_script_says_how_to_install_them(root, script):
    """As after a clone: ``-S`` hides what is installed."""
    found = subprocess.run([sys.executable, "-S", script], cwd=root, capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr == "error: expected an installed eyegan_jax, found no jax; run: pip install -e .\n"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("nowhere", "expected a folder, found nothing"),
        ("a_file", "expected a folder, found a file"),
        ("empty", "found an empty folder"),
        ("text", "found notes.txt"),
        ("broken", "a.png"),
    ],
)
@pytest.mark.parametrize("stream", ["simulated", "real"])
def test_a_folder_without_usable_images_is_named(train, images, folder, expected, stream):
    status, line = train(f"--config.data.{stream}.dir={images / folder}")
    assert status == 2
    assert line.startswith(f"error: config.data.{stream}: ") and expected in line
    assert folder == "broken" or str(images / folder) in line


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("configs/simgan.py:smook", "did you mean 'smoke'"),
        ("configs/simgann.py", "configs/simgann.py"),
        ("README.md", "README.md"),
    ],
)
def test_a_wrong_config_file_is_named(train, config, expected):
    status, line = train(config=config)
    assert status == 2
    assert line.startswith("error: ") and expected in line


def test_a_workdir_that_cannot_be_written_is_named(train, images):
    status, line = train(f"--workdir={images / 'a_file' / 'run'}")
    assert status == 2
    assert line.startswith("error: --workdir: expected a folder that can be written") and "a_file" in line


def test_a_damaged_config_json_is_named(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{")
    status, line = train()
    assert status == 2
    assert line.startswith(f"error: {tmp_path / 'run' / 'config.json'}: expected JSON")


def test_the_real_script_does_the_same(root, images, tmp_path):
    """Not in this process: exit status and streams as a shell sees them."""
    command = [
        sys.executable,
        "train.py",
        "--config=configs/simgan.py:smoke",
        "--config.data.real.kind=folder",
    ]
    command += [f"--config.data.real.dir={images / 'nowhere'}", "--config.data.simulated.kind=folder"]
    command += [f"--config.data.simulated.dir={images / 'simulated'}", f"--workdir={tmp_path / 'run'}"]
    env = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: config.data.real: ") and "Traceback" not in done.stderr


def test_settings_are_changed_by_the_arguments_given_not_by_the_process(monkeypatch):
    """A benchmark's ``--config=FILE`` names another kind of file than the flags of its settings."""
    monkeypatch.setattr("sys.argv", ["meye.py", "--config=configs/benchmarks/meye.py:smoke", "--config.folds=9"])
    config = ml_collections.ConfigDict({"folds": 2, "data": {"dir": placeholder(str)}})
    changed = cli.override(config, ["--config.folds=4", "--config.data.dir=eyes"])
    assert changed.to_dict() == {"folds": 4, "data": {"dir": "eyes"}}
    for wrong in (["--config.fold=4"], ["--config.folds=four"], ["--folds=4"]):
        with pytest.raises(UserError, match="fold"):
            cli.override(config, wrong)


def test_a_reader_that_leaves_is_no_error(root, images, tmp_path):
    """``eyegan ... | true``: the work is done, and nothing is said."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "eyegan_jax", "refine", str(images / "real"), str(tmp_path / "out")]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, env=env, stdout=write, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    os.close(write)
    assert done.returncode == 0 and "BrokenPipe" not in done.stderr
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command(monkeypatch, capsys, flag):
    for run, argv in (
        (lambda a: cli.train_main(a), ["train.py", flag]),
        (lambda a: cli.evaluate_main(a), ["evaluate.py", flag]),
        (lambda a: commands.main(a[1:]), ["eyegan", flag]),
        (lambda a: commands.main(a[1:]), ["eyegan", "refine", flag]),
        (lambda a: commands.main(a[1:]), ["eyegan", "simulate", flag]),
    ):
        with pytest.raises(SystemExit) as stop:
            run(argv)
        assert stop.value.code == 0
        assert "usage:" in capsys.readouterr().out


def test_evaluating_nothing_is_named(monkeypatch, capsys, tmp_path):
    argv = ["evaluate.py", f"--workdir={tmp_path}"]
    status, line = outcome(lambda: cli.evaluate_main(argv), argv, monkeypatch, capsys)
    assert status == 2
    assert line.startswith(f"error: {tmp_path}: expected a run")


def test_refining_without_a_model_is_named(monkeypatch, capsys, images, tmp_path):
    argv = ["eyegan", "refine", str(images / "simulated"), str(tmp_path / "out"), f"--checkpoint={tmp_path}"]
    status, line = outcome(lambda: commands.main(argv[1:]), argv, monkeypatch, capsys)
    assert status == 2
    assert line.startswith(f"error: {tmp_path}: expected a run") and not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path)
    (tmp_path / "checkpoints").mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps({"system": "simgan"}))
    status, line = outcome(lambda: commands.main(argv[1:]), argv, monkeypatch, capsys)
    assert status == 2 and "expected a checkpoint, found none" in line


@pytest.mark.parametrize(("command", "system"), [("redirect --yaw 5", "redirect"), ("edit --text open", "text_edit")])
def test_a_command_whose_model_nobody_has_trained_says_how_to(monkeypatch, capsys, images, tmp_path, command, system):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eyegan_jax.models.RELEASED", tmp_path / "nothing comes with this build")
    name, *flags = command.split()
    argv = ["eyegan", name, str(images / "real"), str(tmp_path / "out"), *flags]
    status, line = outcome(lambda: commands.main(argv[1:]), argv, monkeypatch, capsys)
    assert status == 2 and f"train.py --config=configs/{system}.py" in line and "--checkpoint" in line


@pytest.mark.parametrize(
    "arguments",
    [["polish", "a", "b"], ["refine", "a"], ["simulate", "x", "--count", "2", "--size", "35"], []],
)
def test_wrong_arguments_of_eyegan(monkeypatch, capsys, arguments):
    status, line = outcome(lambda: commands.main(arguments), ["eyegan", *arguments], monkeypatch, capsys)
    assert status == 2 and line.startswith("eyegan") and "error: " in line
