"""Steps of a system as the trainer runs them: placed, compiled and sharded by training.parallel."""

import jax

from eyegan_jax.training.parallel import Parallel


def started(system, devices, batch):
    """The state that training starts from."""
    return jax.jit(lambda key, batch: system.init(key, batch, devices))(jax.random.key(0), batch)


def run(system, wrapper, devices, state, schedule):
    """``[(state, metrics)]`` as NumPy after each ``(step, batch)`` of ``schedule``; equal steps are compiled once."""
    parallel = Parallel(wrapper, jax.devices()[:devices])
    sharding = system.sharding(state)
    # A copy: the step gives its input away, and the caller may start from the same state again.
    state, programs, seen = parallel.place(jax.device_get(state), sharding), {}, []
    for step, batch in schedule:
        if step not in programs:

            def whole(state, resident, batch, step=step):
                del resident
                state, metrics = step(state, batch, jax.random.fold_in(jax.random.key(1), state.step))
                return state.replace(step=state.step + 1), metrics

            programs[step] = parallel.compile(whole, sharding)
        state, metrics = programs[step](state, {}, parallel.shard_batch(batch))
        seen.append(jax.device_get((state, metrics)))
    return seen
