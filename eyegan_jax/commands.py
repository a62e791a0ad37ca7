"""The commands of ``eyegan``: for each its flags and one call into the package."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eyegan_jax.cli import reporting_user_errors
from eyegan_jax.errors import UserError

REFINERS = {"visible": "refiner", "infrared": "refiner_infrared"}
"""Released refiners by the look of their eyes."""


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
    _from_to(parser)
    parser.add_argument("--size", type=size, default=(35, 55), metavar="HxW", help="default: 35x55")
    parser.add_argument("--equalize", action="store_true", help="histogram equalisation, as in MPIIGaze's crops")


def _crop(arguments: argparse.Namespace) -> None:
    from eyegan_jax.data.cropping import crop_folder

    print(crop_folder(arguments.source, arguments.dest, arguments.size, equalize=arguments.equalize))


def _refine_command(commands: Any) -> None:
    parser = _command(
        commands, "refine", _refine, "Make a folder of simulated eyes look real; labels are carried over."
    )
    _from_to(parser)
    parser.add_argument(
        "--look", choices=tuple(REFINERS), default="visible", help="which of the refiners that come with the package"
    )
    _folder_options(parser, "refiner (default: the one of --look)", 64)


def _refine(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.models import released
    from eyegan_jax.refining import refine_folder

    checkpoint = arguments.checkpoint or released(REFINERS[arguments.look])
    print(refine_folder(arguments.source, arguments.dest, checkpoint, **_options(arguments)))


def _from_to(parser: argparse.ArgumentParser, source: str | None = None) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help=source)
    parser.add_argument("dest", type=Path, metavar="DEST")


def _folder_options(parser: argparse.ArgumentParser, what: str, batch: int) -> None:
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help=f"{what}: a run or a released model")
    parser.add_argument(
        "--batch", type=int, default=batch, metavar="N", help=f"images per device call, at most ({batch})"
    )
    parser.add_argument("--overwrite", action="store_true", help="write over results that are already there")


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What :func:`_folder_options` adds, as every folder's function takes it."""
    return {"batch": arguments.batch, "overwrite": arguments.overwrite}


def _start() -> None:
    from eyegan_jax.training import startup

    startup.start()


def _trained(arguments: argparse.Namespace, system: str) -> Path:
    """The model that is asked for, else the user's own run of ``system``, else the one that comes with the package."""
    from eyegan_jax.models import RELEASED

    if arguments.checkpoint is not None:
        return arguments.checkpoint
    own = Path("runs", system)
    for path in (own, RELEASED / system):
        if (path / "config.json").exists():
            return path
    raise UserError(
        f"{own}: expected a trained model, found none; train one (python train.py --config=configs/{system}.py) "
        "or name one (--checkpoint DIR)"
    )


def _segment_command(commands: Any) -> None:
    parser = _command(commands, "segment", _segment, "Find skin, sclera, iris and pupil: writes masks and overlays.")
    _from_to(parser)
    _folder_options(parser, "segmenter (default: runs/segmenter, or the one that comes with the package)", 32)


def _segment(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.segmenting import segment_folder

    print(segment_folder(arguments.source, arguments.dest, _trained(arguments, "segmenter"), **_options(arguments)))


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
    _folder_options(parser, "Seg2Eye model (default: runs/seg2eye, or the one that comes with the package)", 8)


def _synthesize(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.synthesizing import synthesize_folder

    report = synthesize_folder(
        arguments.masks,
        arguments.style,
        arguments.dest,
        _trained(arguments, "seg2eye"),
        between=arguments.between,
        **_options(arguments),
    )
    print(report)


def _edit_command(commands: Any) -> None:
    parser = _command(commands, "edit", _edit, "Change eyes as a sentence asks.")
    _from_to(parser, "a picture or a folder of pictures")
    parser.add_argument(
        "--text", required=True, action="append", metavar="SENTENCE", help="may be repeated: makes a contact sheet too"
    )
    _photo_options(parser)
    _folder_options(parser, "text-editing model (default: runs/text_edit, or the one that comes with the package)", 32)


def _edit(arguments: argparse.Namespace) -> None:
    _start()
    from eyegan_jax.editing import edit_folder

    where = {"paste": arguments.paste, "box": arguments.box}
    checkpoint = _trained(arguments, "text_edit")
    print(edit_folder(arguments.source, arguments.dest, arguments.text, checkpoint, **where, **_options(arguments)))


def _redirect_command(commands: Any) -> None:
    parser = _command(commands, "redirect", _redirect, "Make eyes look elsewhere.")
    _from_to(parser, "a picture or a folder of pictures")
    parser.add_argument("--pitch", type=float, metavar="DEG", help="upwards; without it the eye's own stays")
    parser.add_argument("--yaw", type=float, metavar="DEG", help="to the left; without it the eye's own stays")
    parser.add_argument("--delta", action="store_true", help="angles are added to the eye's own")
    parser.add_argument("--sweep", type=int, default=0, metavar="N", help="N steps from minus to plus: sheet and GIF")
    _photo_options(parser)
    _folder_options(parser, "redirector (default: runs/redirect)", 16)


def _photo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--paste", action="store_true", help="pictures are larger photos: find the eye, put it back")
    parser.add_argument("--box", type=box, metavar="L,T,R,B", help="where the eye is, in pixels")


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
        _trained(arguments, "redirect"),
        Wish(arguments.pitch, arguments.yaw, arguments.delta),
        paste=arguments.paste,
        box=arguments.box,
        sweep=arguments.sweep,
        **_options(arguments),
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
