"""The commands: ``train.py``, ``evaluate.py`` and ``eyegan``. Flags in, one call into the package."""

import argparse
import contextlib
import dataclasses
import difflib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from eyegan_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_CONFIG = ROOT / "configs" / "simgan.py"


@contextlib.contextmanager
def reporting_user_errors() -> Iterator[None]:
    """Print a UserError as one line and exit with status 2; let everything else through.

    One of several processes leaves at once, whatever failed: the ordinary end of a process would wait for the others,
    which wait for it. So does one that finds another gone; it says so and exits with status 1.
    """
    try:
        yield
        return
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        status = 2
    except Exception as error:
        if not _one_of_several():
            raise
        status = 1
        if type(error).__name__ == "JaxRuntimeError":
            reason = (str(error).splitlines() or [""])[0][:200]
            print(
                f"error: another process of this job has stopped, or a device failed ({reason}). "
                "The same command, started again everywhere, goes on from the last checkpoint.",
                file=sys.stderr,
            )
        else:
            traceback.print_exc()
    if _one_of_several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise SystemExit(status)


def _one_of_several() -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _parse_flags(argv: Sequence[str], parser: argparse.ArgumentParser, config: str | None) -> tuple[Any, Any]:
    """``(arguments, config)``: ``--config`` and ``--config.a.b=value`` by ml_collections, the rest by argparse."""
    from absl import flags
    from ml_collections import config_flags

    ours, theirs = parser.parse_known_args(argv[1:])
    unknown = [flag for i, flag in enumerate(theirs) if not _belongs_to_config(flag, theirs[i - 1] if i else "")]
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings] + ["--config"]
        near = difflib.get_close_matches(unknown[0].split("=")[0], known, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"expected one of {', '.join(known)} and --config.NAME=VALUE, found {unknown[0]!r}{hint}")
    path, _ = _chosen_config(argv)
    if not Path(path).is_file():
        near = difflib.get_close_matches(path, map(str, Path(path).parent.glob("*.py")), 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"--config: expected a config file, found none at {path}{hint}")
    values = flags.FlagValues()
    try:
        # Where --config is not given, defining the flag reads the default and everything that is set in it.
        config_flags.DEFINE_config_file("config", config, flag_values=values)
        values([argv[0], *theirs])
        return ours, values.config
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"--config: expected Python in {path}, found line {error.lineno}: {error.msg}") from None
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"--config: {error.args[0] if error.args else error}") from None


def _belongs_to_config(flag: str, before: str) -> bool:
    """Whether ``flag`` is ``--config...`` or the value that the flag before it left for the next word."""
    return flag.startswith(("--config", "-config")) or (before.startswith("--config") and "=" not in before)


def _chosen_config(argv: Sequence[str]) -> tuple[str, str]:
    """File and variant of ``--config=FILE:VARIANT`` or ``--config FILE:VARIANT``, the default where there is none."""
    chosen = str(DEFAULT_CONFIG)
    for i, argument in enumerate(argv):
        if argument.startswith("--config="):
            chosen = argument.removeprefix("--config=")
        elif argument == "--config" and i + 1 < len(argv):
            chosen = argv[i + 1]
    path, _, variant = chosen.partition(":")
    return path, variant


def _add_process_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several processes (found by itself on SLURM, TPU pods and Kubernetes)")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    group.add_argument("--processes", type=int, metavar="N", help="number of processes")
    group.add_argument("--process", type=int, metavar="I", help="index of this process")


def train_main(argv: Sequence[str]) -> int:
    """``train.py``: train a config, or go on where its workdir stands."""
    parser = argparse.ArgumentParser(prog="train.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--workdir", type=Path, help="where the run lives (default: runs/NAME of the config)")
    _add_process_flags(parser)
    parser.epilog = "--config=configs/NAME.py[:variant] chooses the experiment, --config.a.b=value changes a setting."
    with reporting_user_errors():
        arguments, config = _parse_flags(argv, parser, str(DEFAULT_CONFIG))
        workdir = arguments.workdir or Path("runs") / _name_of(argv)
        from eyegan_jax.training import startup

        startup.start(arguments.coordinator, arguments.processes, arguments.process)
        import jax

        from eyegan_jax.training.loop import train

        if jax.process_index() == 0:
            print(f"{config.system}: training in {workdir} on {_devices()}", file=sys.stderr)
        outcome = train(config, workdir)
        if jax.process_index() == 0:
            _print_outcome(outcome, workdir)
    # The shell's convention for Ctrl-C; a preempted job (SIGTERM) has done all it should.
    return 130 if outcome.interrupted == 2 else 0


def _print_outcome(outcome: Any, workdir: Path) -> None:
    if outcome.interrupted:
        print(f"stopped at step {outcome.step}; checkpoint saved. The same command goes on from here.")
        return
    print(f"trained {outcome.step} steps. In {workdir}: checkpoints/, metrics.jsonl, samples/")
    print(f"next: python evaluate.py --workdir={workdir}")


def _devices() -> str:
    import jax

    kinds = {device.device_kind for device in jax.devices()}
    return f"{jax.device_count()} x {', '.join(sorted(kinds))}"


def _name_of(argv: Sequence[str]) -> str:
    """``simgan-smoke`` for ``--config=configs/simgan.py:smoke``."""
    path, variant = _chosen_config(argv)
    return "-".join(filter(None, [Path(path).stem, variant]))


def evaluate_main(argv: Sequence[str]) -> int:
    """``evaluate.py``: judge a run and write its report."""
    parser = argparse.ArgumentParser(prog="evaluate.py", allow_abbrev=False)
    parser.add_argument("--workdir", type=Path, default=Path("runs/simgan"), help="the run to judge")
    parser.epilog = "--config.a.b=value changes a setting of the run's own config.json for the evaluation."
    with reporting_user_errors():
        arguments, rest = parser.parse_known_args(argv[1:])
        from eyegan_jax.models import run_config

        config = override(run_config(arguments.workdir), rest)
        from eyegan_jax.training import startup

        startup.start()
        from eyegan_jax.evaluation import run

        page = run.evaluate(config, arguments.workdir)
        print(f"wrote {page} and {page.with_name('metrics.json')}")
    return 0


def override(config: Any, arguments: Sequence[str]) -> Any:
    """Apply ``--config.a.b=value`` flags to a config that was read from a run."""
    from absl import flags
    from ml_collections import config_flags

    unknown = [argument for argument in arguments if not argument.startswith("--config.")]
    if unknown:
        raise UserError(f"expected --workdir=DIR and --config.NAME=VALUE, found {unknown[0]!r}")
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config.lock(), flag_values=values)
    try:
        values(["evaluate.py", *arguments])
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"--config: {error.args[0] if error.args else error}") from None
    return values.config


def main(argv: Sequence[str] | None = None) -> int:
    """The ``eyegan`` command."""
    parser = argparse.ArgumentParser(prog="eyegan", description="Realistic labelled eye images.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _simulate_command,
        _crop_command,
        _refine_command,
        _segment_command,
        _synthesize_command,
        _edit_command,
        _redirect_command,
        _turing_command,
        _sweep_command,
        _import_command,
        _export_command,
    ):
        add(commands)
    arguments = parser.parse_args(argv)
    with reporting_user_errors():
        arguments.run(arguments)
    return 0


def _command(commands: Any, name: str, run: Callable, help: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(run=run)
    return parser


def size(text: str) -> tuple[int, int]:
    """``HxW``."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, as in 35x55, found {text!r}")
    return int(height), int(width)


def _simulate_command(commands: Any) -> None:
    parser = _command(commands, "simulate", _simulate, "Render labelled eyes with the built-in simulator.")
    parser.add_argument("dest", type=Path, metavar="DEST")
    parser.add_argument("--count", type=int, required=True, metavar="N", help="number of images")
    parser.add_argument("--look", choices=("visible", "infrared"), default="visible")
    parser.add_argument("--size", type=size, metavar="HxW", help="default: 35x55 visible, 640x400 infrared")
    parser.add_argument("--subjects", type=int, metavar="K", help="number of different people (default: COUNT)")
    parser.add_argument("--domain", default="simulated", help="simulated (default), captured or randomized")
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1)
    parser.add_argument("--seed", type=int, default=0)


def _simulate(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax import simulator
    from eyegan_jax.data.simulated import write_simulated

    view = simulator.VIEWS["unityeyes_35x55" if arguments.look == "visible" else "openeds_640x400"]
    height, width = arguments.size or (view.height, view.width)
    write_simulated(
        arguments.dest,
        arguments.count,
        dataclasses.replace(view, height=height, width=width, channels=arguments.channels),
        domain=arguments.domain,
        subjects=arguments.subjects,
        seed=arguments.seed,
    )


def _crop_command(commands: Any) -> None:
    parser = _command(commands, "crop", _crop, "Cut the eyes out of UnityEyes renders; labels are carried over.")
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("dest", type=Path, metavar="DEST")
    parser.add_argument("--size", type=size, default=(35, 55), metavar="HxW", help="default: 35x55")
    parser.add_argument("--equalize", action="store_true", help="histogram equalisation, as in MPIIGaze's crops")


def _crop(arguments: argparse.Namespace) -> None:
    from eyegan_jax.data.cropping import crop_folder

    print(crop_folder(arguments.source, arguments.dest, arguments.size, equalize=arguments.equalize))


def _refine_command(commands: Any) -> None:
    parser = _command(
        commands, "refine", _refine, "Make a folder of simulated eyes look real; labels are carried over."
    )
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("dest", type=Path, metavar="DEST")
    _folder_options(parser, "refiner (default: the one that comes with the package)", 64)


def _refine(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.models import released
    from eyegan_jax.refining import refine_folder

    report = refine_folder(
        arguments.source,
        arguments.dest,
        arguments.checkpoint or released("refiner"),
        batch=arguments.batch,
        overwrite=arguments.overwrite,
    )
    print(report)


def _folder_options(parser: argparse.ArgumentParser, what: str, batch: int) -> None:
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help=f"{what}: a run or a released model")
    parser.add_argument("--batch", type=int, default=batch, metavar="N", help=f"images per device call ({batch})")
    parser.add_argument("--overwrite", action="store_true", help="write over results that are already there")


def _start() -> None:
    from eyegan_jax.training import startup

    startup.start()


def _segment_command(commands: Any) -> None:
    parser = _command(commands, "segment", _segment, "Find skin, sclera, iris and pupil: writes masks and overlays.")
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("dest", type=Path, metavar="DEST")
    _folder_options(parser, "segmenter (default: the one that comes with the package)", 32)


def _segment(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.models import released
    from eyegan_jax.segmenting import segment_folder

    checkpoint = arguments.checkpoint or released("segmenter")
    options = {"batch": arguments.batch, "overwrite": arguments.overwrite}
    print(segment_folder(arguments.source, arguments.dest, checkpoint, **options))


def _synthesize_command(commands: Any) -> None:
    parser = _command(commands, "synthesize", _synthesize, "Paint eyes from masks in the style of a person.")
    parser.add_argument("dest", type=Path, metavar="DEST")
    parser.add_argument("--masks", type=Path, required=True, metavar="DIR", help="masks, pixel values 0 to 3")
    parser.add_argument(
        "--style", type=Path, required=True, nargs="+", metavar="DIR", help="one folder of pictures per person"
    )
    parser.add_argument(
        "--between", type=int, default=0, metavar="N", help="with two people: N steps from the first to the second"
    )
    _folder_options(parser, "Seg2Eye model (default: runs/seg2eye)", 8)


def _synthesize(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.synthesizing import synthesize_folder

    report = synthesize_folder(
        arguments.masks,
        arguments.style,
        arguments.dest,
        arguments.checkpoint or Path("runs/seg2eye"),
        between=arguments.between,
        batch=arguments.batch,
        overwrite=arguments.overwrite,
    )
    print(report)


def _edit_command(commands: Any) -> None:
    parser = _command(commands, "edit", _edit, "Change eyes as a sentence asks.")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a picture or a folder of pictures")
    parser.add_argument("dest", type=Path, metavar="DEST")
    parser.add_argument(
        "--text", required=True, action="append", metavar="SENTENCE", help="may be repeated: makes a contact sheet too"
    )
    _folder_options(parser, "text-editing model (default: runs/text_edit)", 32)


def _edit(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.editing import edit_folder

    checkpoint = arguments.checkpoint or Path("runs/text_edit")
    options = {"batch": arguments.batch, "overwrite": arguments.overwrite}
    print(edit_folder(arguments.source, arguments.dest, arguments.text, checkpoint, **options))


def _redirect_command(commands: Any) -> None:
    parser = _command(commands, "redirect", _redirect, "Make eyes look elsewhere.")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a picture or a folder of pictures")
    parser.add_argument("dest", type=Path, metavar="DEST")
    parser.add_argument("--pitch", type=float, metavar="DEG", help="upwards; without it the eye's own stays")
    parser.add_argument("--yaw", type=float, metavar="DEG", help="to the left; without it the eye's own stays")
    parser.add_argument("--delta", action="store_true", help="angles are added to the eye's own")
    parser.add_argument("--sweep", type=int, default=0, metavar="N", help="N steps from minus to plus: sheet and GIF")
    parser.add_argument("--paste", action="store_true", help="pictures are larger photos: find the eye, put it back")
    parser.add_argument("--box", type=box, metavar="L,T,R,B", help="where the eye is, in pixels")
    _folder_options(parser, "redirector (default: runs/redirect)", 16)


def box(text: str) -> tuple[int, int, int, int]:
    """``LEFT,TOP,RIGHT,BOTTOM``."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"expected LEFT,TOP,RIGHT,BOTTOM in pixels, found {text!r}")
    left, top, right, bottom = (int(part) for part in parts)
    return left, top, right, bottom


def _redirect(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.redirecting import Wish, redirect_folder

    report = redirect_folder(
        arguments.source,
        arguments.dest,
        arguments.checkpoint or Path("runs/redirect"),
        Wish(arguments.pitch, arguments.yaw, arguments.delta),
        paste=arguments.paste,
        box=arguments.box,
        sweep=arguments.sweep,
        batch=arguments.batch,
        overwrite=arguments.overwrite,
    )
    print(report)


def _turing_command(commands: Any) -> None:
    parser = _command(commands, "turing", _turing, "Visual Turing test in the browser: refined or real?")
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="a run that evaluate.py has judged")
    parser.add_argument("--against", type=Path, metavar="WORKDIR", help="compare with a second run, side by side")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1", help="loopback unless told otherwise")


def _turing(arguments: argparse.Namespace) -> None:
    from eyegan_jax.evaluation.turing import serve

    serve(arguments.workdir, port=arguments.port, host=arguments.host, against=arguments.against)


def _sweep_command(commands: Any) -> None:
    parser = _command(commands, "sweep", _sweep, "Train and judge a table of runs; prints what has finished.")
    parser.add_argument("file", type=Path, metavar="FILE", help="configs/sweeps/NAME.py")
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--index", type=int, metavar="I", help="only run I, as in --index $SLURM_ARRAY_TASK_ID")
    parser.add_argument("--together", action="store_true", help="runs that differ in numbers only, as one program")
    parser.add_argument("--report", action="store_true", help="only print the table")
    parser.add_argument("--record", metavar="NAME", help="write the table to docs/results/NAME.json as well")


def _sweep(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.evaluation import sweeps

    if not arguments.report:
        sweeps.run(arguments.file, arguments.workdir, arguments.index, arguments.together)
    if arguments.record:
        sweeps.record_table(arguments.file, arguments.workdir, arguments.record)
    print(sweeps.table(arguments.file, arguments.workdir))


def _import_command(commands: Any) -> None:
    parser = _command(commands, "import-torch", _import, "Read a PyTorch checkpoint (needs eyegan_jax[torch]).")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("dest", type=Path, metavar="DEST")
    parser.add_argument("--system", choices=("seg2eye",), required=True)
    parser.add_argument("--aggregate", choices=("max", "mean"), default="max", help="how the encoder joins references")


def _import(arguments: argparse.Namespace) -> None:
    from eyegan_jax.interchange.seg2eye import import_checkpoint

    unused = import_checkpoint(arguments.file, arguments.dest, arguments.aggregate)
    print(
        f"wrote {arguments.dest}; {len(unused)} tensors were not needed{': ' if unused else ''}{', '.join(unused[:5])}"
    )


def _export_command(commands: Any) -> None:
    parser = _command(commands, "export", _export, "Write the trained refiner as a jax.export artefact.")
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="a SimGAN run or released refiner")
    parser.add_argument("file", type=Path, metavar="FILE")


def _export(arguments: argparse.Namespace) -> None:
    from eyegan_jax.interchange.export import export_refiner

    size = export_refiner(arguments.workdir, arguments.file)
    print(f"wrote {arguments.file} ({size / 1e6:.1f} MB): uint8 [n, H, W, C] in and out, for cpu, cuda and tpu")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
