"""``python drill.py EVENT train.py-flags``: the real train.py, with one thing going wrong at one exact moment.

EVENT: sigterm@STEP, sigkill@STEP, killsave@N (SIGKILL in the middle of the N-th checkpoint's write) or
fulldisk@N (from the N-th checkpoint on no file can grow).
"""

import os
import resource
import signal
import sys
import threading
import time

from eyegan_jax.cli import train_main
from eyegan_jax.training import checkpoints, interrupts, loop


def send_at_step(number: int, step: int) -> None:
    """The signal arrives just before the loop asks whether to stop before ``step``, one step per dispatch."""
    ask, resume = interrupts.Interrupts.stop, loop._Trainer._resume
    at = []

    def resume_and_note(self, checkpoints):
        at.append(resume(self, checkpoints))
        return at[0]

    def stop(self):
        if at[0] == step:
            os.kill(os.getpid(), number)
            time.sleep(0.05)
        at[0] += 1
        return ask(self)

    loop._Trainer._resume = resume_and_note
    interrupts.Interrupts.stop = stop


def kill_in_save(which: int) -> None:
    """SIGKILL as soon as the first files of the ``which``-th checkpoint are there but it is not complete."""
    save, seen = checkpoints.Checkpoints.save, []

    def watch(folder, step):
        while True:
            unfinished = [p for p in folder.glob("*") if p.name.startswith(f"{step}.") and any(p.rglob("*"))]
            if unfinished:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.0005)

    def save_and_watch(self, step, *args, **kwargs):
        seen.append(step)
        if len(seen) == which:
            threading.Thread(target=watch, args=(self.path, step), daemon=True).start()
        return save(self, step, *args, **kwargs)

    checkpoints.Checkpoints.save = save_and_watch


def fill_disk_at_save(which: int) -> None:
    """A size limit of zero for all files acts like a full disk, without needing a file system of one's own."""
    save, seen = checkpoints.Checkpoints.save, []

    def save_on_full_disk(self, step, *args, **kwargs):
        seen.append(step)
        if len(seen) == which:
            self.wait()
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        return save(self, step, *args, **kwargs)

    checkpoints.Checkpoints.save = save_on_full_disk


if __name__ == "__main__":
    kind, _, value = sys.argv[1].partition("@")
    if kind == "killsave":
        kill_in_save(int(value))
    elif kind == "fulldisk":
        fill_disk_at_save(int(value))
    else:
        send_at_step({"sigterm": signal.SIGTERM, "sigkill": signal.SIGKILL}[kind], int(value))
    sys.exit(train_main(["train.py", *sys.argv[2:]]))
