"""``train.py`` and ``evaluate.py``: flags in, one call into the package; and how errors are told."""

import argparse
import contextlib
import difflib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eyegan_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_CONFIG = ROOT / "configs" / "simgan.py"


@contextlib.contextmanager
def reporting_user_errors() -> Iterator[None]:
    """Print a UserError as one line and exit with status 2, Ctrl-C with 130; let everything else through.

    One of several processes leaves at once, whatever failed: the ordinary end of a process would wait for the others,
    which wait for it. So does one that finds another gone; it says so and exits with status 1.
    """
    try:
        yield
        _end_output()
        return
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        status = 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        status = 130  # the shell's convention for Ctrl-C
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


def _end_output() -> None:
    """Write out what is printed. A reader that has left (``| head``) has seen enough: no traceback for that."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        raise _wrong_setting(error) from None


def _wrong_setting(error: Exception) -> UserError:
    """What absl and ml_collections found wrong with a ``--config`` flag."""
    reason = error.args[0] if error.args else error
    if isinstance(reason, KeyError):  # a name, and perhaps one that is like it
        reason = f"expected a setting of this config, found {reason.args[0]}"
    return UserError(f"--config: {reason}")


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
    # As above for Ctrl-C; a preempted job (SIGTERM) has done all it should.
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
        raise UserError(f"expected a flag of --help or --config.NAME=VALUE, found {unknown[0]!r}")
    values = flags.FlagValues()
    # Its own arguments, since what it finds in the process's might be another config's.
    argv = ["", *arguments]
    try:
        config_flags.DEFINE_config_dict("config", config.lock(), flag_values=values, sys_argv=argv)
        values(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _wrong_setting(error) from None
    return values.config
