"""The training loop of every system."""

import dataclasses
import math
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from tqdm import tqdm

from eyegan_jax import pictures, systems
from eyegan_jax.compiler import make_room
from eyegan_jax.data.sources import DeviceSource, HostSource, Source, draw_batch
from eyegan_jax.data.streams import build_streams
from eyegan_jax.errors import UserError
from eyegan_jax.models import starting_parts
from eyegan_jax.systems.base import Phase, System
from eyegan_jax.training.checkpoints import Checkpoints
from eyegan_jax.training.interrupts import Interrupts
from eyegan_jax.training.parallel import Parallel
from eyegan_jax.training.program import PREVIEW, SYSTEM, device_steps
from eyegan_jax.training.workdirs import alone_in, claim, expect_same_experiment
from eyegan_jax.training.writers import MetricWriter


class Diverged(UserError):
    """A loss is no longer finite."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How training ended: at which step, and the signal that stopped it, if any."""

    state: Any
    step: int
    interrupted: int | None


def train(config: ml_collections.ConfigDict, workdir: Path) -> Outcome:
    """Train ``config`` in ``workdir``, from its newest checkpoint if it has one; see design of the run's files.

    Raises UserError for settings that cannot work, for a workdir that belongs to another experiment or in which another
    training runs, and (as Diverged) for a loss that is not finite.
    """
    make_room()  # a sweep trains dozens in one process
    workdir = Path(workdir)
    parallel = Parallel(config.run.parallel)
    per_device = parallel.per_device(config.batch_size)
    system = systems.build_system(config)
    with alone_in(workdir):
        expect_same_experiment(config, workdir)
        if not (workdir / "checkpoints").exists():
            starting_parts(config)  # refuses what is not there before anything is rendered
        sources = build_streams(config, {name for phase in system.phases for name in phase.streams})
        trainer = _Trainer(config, workdir, parallel, per_device, system, sources)
        return trainer.run()


def write_run(config: ml_collections.ConfigDict, workdir: Path, state: Any, step: int) -> None:
    """A run's folder around a state that was trained elsewhere: its config and one checkpoint."""
    with alone_in(workdir):
        expect_same_experiment(config, workdir)
        claim(config, workdir)
        with Checkpoints(workdir, config.run.keep) as checkpoints:
            checkpoints.save(step, state, _position(config, step))


def _position(config: ml_collections.ConfigDict, step: int) -> dict[str, int]:
    """What a checkpoint says of the data: all of it follows from the seed and the step."""
    return {"step": step, "seed": config.seed, "images": step * config.batch_size}


class _Trainer:
    """The loop's fixed parts; everything that changes lives in ``run``."""

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: Path,
        parallel: Parallel,
        per_device: int,
        system: System,
        sources: Mapping[str, Source],
    ):
        self.config, self.workdir, self.parallel, self.system = config, workdir, parallel, system
        self.per_device, self.sources = per_device, sources
        self.on_device = {n: s for n, s in sources.items() if isinstance(s, DeviceSource)}
        self.resident = parallel.replicate({name: source.resident for name, source in self.on_device.items()})
        self.first_process = jax.process_index() == 0
        root = jax.random.key(config.seed)
        self.preview = self._draw_preview(root)
        self.state = parallel_init(system, parallel, root, self.preview)
        self.sharding = system.sharding(self.state)
        self.root = root
        self.compiled: dict[tuple[str, int], Any] = {}
        self.draw_pictures = jax.jit(system.pictures)

    def run(self) -> Outcome:
        config, total = self.config, sum(phase.steps for phase in self.system.phases)
        with Checkpoints(self.workdir, config.run.keep) as checkpoints, Interrupts() as interrupts:
            step = self._resume(checkpoints)
            # Not before: a setting that was refused must not keep the folder from its correction.
            claim(config, self.workdir)
            if step >= total:
                return Outcome(self.state, step, None)
            log = _Log(self.workdir, config, step, total, self.first_process, self._last_good(checkpoints))
            dispatch = self._steps_per_dispatch()
            saved_at = time.monotonic()
            try:
                while step < total and not interrupts.stop():
                    phase, start, end = self._phase_at(step)
                    count = self._dispatch_size(step, end, dispatch)
                    batch = self._host_batch(phase, step, start)
                    self.state, metrics = self._compiled(phase, count)(self.state, self.resident, batch)
                    log.push(step, count, phase.name, metrics, self.parallel)
                    step += count
                    if self._due(step, end, config.run.samples_every):
                        self._write_pictures(step)
                    minutes = (time.monotonic() - saved_at) / 60
                    late = 0 < config.run.checkpoint_minutes < minutes and jax.process_count() == 1
                    if self._due(step, end, config.run.checkpoint_every) or late:
                        self._save(checkpoints, log, step)
                        saved_at = time.monotonic()
                self._save(checkpoints, log, step)
                checkpoints.wait()
            finally:
                log.close()
        return Outcome(self.state, step, interrupts.received)

    def _resume(self, checkpoints: Checkpoints) -> int:
        """Load the newest readable checkpoint into ``self.state``; the step to go on from."""
        shardings = self.parallel.shardings(self.sharding)

        def abstract(stored: Mapping[str, tuple[int, ...]]) -> Any:
            """Like the fresh state, but as stored where an array that is divided between devices is in other groups."""

            def leaf(path, fresh, sharding):
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                shape = stored.get(name, fresh.shape)
                same = shape == fresh.shape
                if not same and (sharding == self.parallel.replicated or math.prod(shape) != fresh.size):
                    raise UserError(
                        f"{self.workdir}: expected a checkpoint of this config, found {name} of shape {shape} "
                        f"instead of {fresh.shape}"
                    )
                where = sharding if same else self.parallel.replicated
                return jax.ShapeDtypeStruct(shape, fresh.dtype, sharding=where)

            return jax.tree_util.tree_map_with_path(leaf, self.state, shardings)

        found = checkpoints.restore_newest(abstract, partial(tqdm.write, file=sys.stderr))
        if found is None:
            trained = starting_parts(self.config)
            if trained:
                system: Any = self.system  # one whose config has ``start``
                self.state = self.parallel.place(system.start_from(jax.device_get(self.state), trained), self.sharding)
            return 0
        step, state, _ = found

        def fit(stored, fresh, sharded):
            """Another number of devices: the same strata in another grouping; or whole images, as once stored."""
            if stored.shape == fresh.shape:
                return stored
            return self.parallel.place(np.asarray(stored).reshape(fresh.shape), sharded)

        self.state = jax.tree.map(fit, state, self.state, self.sharding)
        return step

    def _compiled(self, phase: Phase, count: int) -> Any:
        """The device program that runs ``count`` steps of ``phase``, compiled on first use."""
        if (phase.name, count) not in self.compiled:
            program = device_steps(phase, count, self.root, self.on_device, self.per_device)
            self.compiled[phase.name, count] = self.parallel.compile(program, self.sharding)
        return self.compiled[phase.name, count]

    def _host_batch(self, phase: Phase, step: int, start: int) -> Any:
        """The next batch of every streamed stream of this phase (none where all data is on the device)."""
        streamed = {n: s for n, s in phase.streams.items() if n not in self.on_device}
        if not streamed:
            return {}
        if getattr(self, "_iterators", (None,))[0] != phase.name:
            positions = self.parallel.local_positions(self.config.batch_size)
            iterators: dict[str, Iterator] = {
                name: source.batches(step - start, positions, self.config.batch_size, streamed[name])
                for name, source in self.sources.items()
                if name in streamed and isinstance(source, HostSource)
            }
            self._iterators = (phase.name, iterators)
        return self.parallel.shard_batch({name: next(it) for name, it in self._iterators[1].items()})

    def _draw_preview(self, root: jax.Array) -> Any:
        """A small fixed batch of every stream, ``[samples, 1, ...]``: shapes for init and pictures to watch."""
        count = self.config.run.samples
        key = jax.random.fold_in(root, PREVIEW)
        batch = {}
        for index, (name, source) in enumerate(sorted(self.sources.items())):
            if isinstance(source, DeviceSource):
                draw = jax.jit(partial(draw_batch, source, samples=1))
                batch[name] = draw(source.resident, jax.random.fold_in(key, index), np.arange(count))
            else:
                batch[name] = next(source.batches(0, range(count), count, 1))
        return jax.device_get(batch)

    def _phase_at(self, step: int) -> tuple[Phase, int, int]:
        """The phase of ``step`` with its first step and the one after its last."""
        start = 0
        for phase in self.system.phases:
            if step < start + phase.steps:
                return phase, start, start + phase.steps
            start += phase.steps
        raise AssertionError("called behind the last phase")

    def _steps_per_dispatch(self) -> int:
        chosen = self.config.run.steps_per_dispatch
        if not chosen:
            # A scan around a convolution's backward pass is many times slower on CPU (jax-ml/jax#12868).
            chosen = 1 if jax.default_backend() == "cpu" else 20
        return chosen if len(self.on_device) == len(self.sources) else 1

    def _dispatch_size(self, step: int, end: int, most: int) -> int:
        """``most`` steps where no boundary lies between, else one: two programs per phase at most."""
        events = [
            end,
            *(_next(step, every) for every in (self.config.run.samples_every, self.config.run.checkpoint_every)),
        ]
        return most if step + most <= min(events) else 1

    def _due(self, step: int, end: int, every: int) -> bool:
        return bool(every) and (step % every == 0 or step == end)

    def _save(self, checkpoints: Checkpoints, log: "_Log", step: int) -> None:
        log.drain(self.parallel)
        state = self.parallel.to_global(self.state, self.sharding)
        checkpoints.save(step, state, _position(self.config, step), log.monitored())
        log.last_good = checkpoints.path / str(step)

    def _last_good(self, checkpoints: Checkpoints) -> Path | None:
        return checkpoints.path / str(checkpoints.steps[-1]) if checkpoints.steps else None

    def _write_pictures(self, step: int) -> None:
        if not self.first_process:
            return
        state = self.state if jax.process_count() == 1 else self.parallel.to_host(self.state)
        grid = np.asarray(self.draw_pictures(state, self.preview))
        pictures.grid_png(grid, self.workdir / "samples" / f"{step:07d}.png", scale=max(1, 160 // grid.shape[2]))


class _Log:
    """Reads metrics one dispatch late, so that the device never waits, and shows and writes them."""

    def __init__(
        self,
        workdir: Path,
        config: ml_collections.ConfigDict,
        step: int,
        total: int,
        first_process: bool,
        last_good: Path | None,
    ):
        self.config, self.last_good = config, last_good
        self.writer = MetricWriter(workdir, step) if first_process else None
        self.bar = tqdm(
            total=total,
            initial=step,
            unit="step",
            dynamic_ncols=True,
            disable=not first_process,
            mininterval=0.5,
        )
        self.pending: tuple | None = None
        self.started = self.last_time = time.monotonic()
        self.last_logged = step
        self.monitored_values: list[float] = []

    def push(self, step: int, count: int, phase: str, metrics: Any, parallel: Parallel) -> None:
        """Take the metrics of a dispatch that has just been started, and read those of the one before."""
        before, self.pending = self.pending, (step, count, phase, metrics)
        if before:
            self._read(before, parallel)

    def drain(self, parallel: Parallel) -> None:
        """Read what is pending: after this, every step so far is known to be finite."""
        before, self.pending = self.pending, None
        if before:
            self._read(before, parallel)

    def monitored(self) -> float | None:
        """Minus the mean of the monitored metric since the last call (the best is the highest), if it was seen."""
        values, self.monitored_values = self.monitored_values, []
        return -float(np.mean(values)) if values else None

    def _read(self, entry: tuple, parallel: Parallel) -> None:
        step, count, phase, metrics = entry
        values = parallel.to_host(metrics)
        for i in range(count):
            figures = {name: float(value[i]) for name, value in values.items()}
            for name, value in figures.items():
                if not np.isfinite(value):
                    good = f"the last good checkpoint is {self.last_good}" if self.last_good else "no checkpoint yet"
                    raise Diverged(f"step {step + i + 1} ({phase}): expected a finite {name}, found {value}; {good}")
            if self.config.run.monitor in figures:
                self.monitored_values.append(figures[self.config.run.monitor])
            done = step + i + 1
            if done % self.config.run.log_every == 0:
                self._write(done, phase, figures)
        self.bar.update(count)

    def _write(self, step: int, phase: str, figures: dict[str, float]) -> None:
        now = time.monotonic()
        rate = (step - self.last_logged) * self.config.batch_size / max(now - self.last_time, 1e-9)
        self.last_time, self.last_logged = now, step
        if self.writer:
            timing = {"seconds": now - self.started, "images_per_second": rate}
            self.writer.write(step, phase, timing | figures)
        shown = {name.removeprefix("loss/"): f"{v:.4g}" for name, v in figures.items() if name.startswith("loss/")}
        self.bar.set_description(phase, refresh=False)
        self.bar.set_postfix({"img/s": f"{rate:.0f}"} | shown, refresh=False)

    def close(self) -> None:
        self.bar.close()
        if self.writer:
            self.writer.close()


def parallel_init(system: System, parallel: Parallel, root: jax.Array, preview: Any) -> Any:
    """A fresh state, placed where the step wants it."""
    initialise = jax.jit(partial(system.init, devices=len(parallel.devices)))
    state = initialise(jax.random.fold_in(root, SYSTEM), preview)
    return parallel.place(jax.device_get(state) if jax.process_count() > 1 else state, system.sharding(state))


def _next(step: int, every: int) -> float:
    """The next multiple of ``every`` after ``step``."""
    return (step // every + 1) * every if every else float("inf")
