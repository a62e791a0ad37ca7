"""The visual Turing test of the SimGAN paper (section 3.1, Table 1) as a local web page.

A person sees real and refined eyes one by one, in random order and equal numbers, and says which is which;
afterwards a confusion table and the exact probability that a guesser does as well. The control shows raw
simulated eyes instead of refined ones; the comparison shows two systems' eyes side by side.
Images are those that ``evaluate.py`` puts into ``WORKDIR/report/turing/{real,refined,raw}/*.png``.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import flask
import werkzeug.serving
from werkzeug.exceptions import NotFound

from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import turing_store as store

LENGTHS = (20, 50, 100)
"""Numbers of images a person may choose; the paper's subjects judged 100."""
LEAST_IMAGES = 2


@dataclass(frozen=True)
class Mode:
    """One kind of test. ``kinds``: the real eyes come first where single images are judged."""

    name: str
    title: str
    question: str
    kinds: tuple[str, str]
    labels: Mapping[str, str]
    side_by_side: bool = False


JUDGE = Mode(
    "judge",
    "Real or refined?",
    "Is this a photograph of an eye, or made by a computer?",
    ("real", "refined"),
    {"real": "Photograph", "refined": "Computer"},
)
CONTROL = Mode(
    "control",
    "Control: real or plain simulation?",
    "Is this a photograph of an eye, or made by a computer?",
    ("real", "raw"),
    {"real": "Photograph", "raw": "Computer"},
)


def _images(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def _folders(workdir: Path, against: Path | None) -> dict[str, Path]:
    """Kind -> folder of its images; the kinds of a comparison are the two runs' names."""
    root = workdir / "report" / "turing"
    folders = {kind: root / kind for kind in ("real", "refined", "raw")}
    if against is not None:
        other = against / "report" / "turing" / "refined"
        first, second = _distinct_names(workdir, against)
        folders |= {first: folders["refined"], second: other if other.is_dir() else against}
    return folders


def _distinct_names(a: Path, b: Path) -> tuple[str, str]:
    first, second = a.resolve().name, b.resolve().name
    return (f"{first} (A)", f"{second} (B)") if first == second else (first, second)


def _modes(workdir: Path, against: Path | None, files: Mapping[str, Sequence[str]]) -> dict[str, Mode]:
    modes = [JUDGE]
    if len(files["raw"]) >= LEAST_IMAGES:
        modes.append(CONTROL)
    if against is not None:
        kinds = _distinct_names(workdir, against)
        title = f"{kinds[0]} against {kinds[1]}"
        modes.insert(
            0,
            # The name holds the opponent: answers about another one stay apart in the history.
            Mode(
                f"compare {kinds[1]}",
                title,
                "Which looks more like a photograph?",
                kinds,
                {k: k for k in kinds},
                True,
            ),
        )
    return {mode.name: mode for mode in modes}


def create_app(workdir: str | Path, against: str | Path | None = None) -> flask.Flask:
    """The web application for the run in ``workdir``; ``against`` adds the comparison with another run.

    ``against``: another run's workdir, or any folder of PNGs. Raises UserError where images are missing.
    """
    workdir, against = Path(workdir), Path(against) if against else None
    folders = _folders(workdir, against)
    files = {kind: _images(folder) for kind, folder in folders.items()}
    modes = _modes(workdir, against, files)
    for kind in dict.fromkeys(kind for mode in modes.values() for kind in mode.kinds):
        if len(files[kind]) < LEAST_IMAGES:
            raise UserError(
                f"{folders[kind]}: expected at least {LEAST_IMAGES} PNG images, found {len(files[kind])}; "
                f"run evaluate.py --workdir={workdir} first"
            )
    sessions = store.Store(workdir / "turing.sqlite")

    app = flask.Flask(__name__, template_folder="templates", static_folder=None)
    app.jinja_env.globals["modes"] = modes
    app.jinja_env.filters["chance"] = _chance

    def known(session_id: str) -> store.Session:
        session = sessions.session(session_id)
        if session is None or session.mode not in modes:
            raise NotFound("There is no such session.")
        return session

    @app.get("/")
    def start():
        most = {
            mode.name: min(len(files[kind]) for kind in mode.kinds) * (1 if mode.side_by_side else 2)
            for mode in modes.values()
        }
        person = flask.request.cookies.get("person", "")
        return flask.render_template("turing_start.html", lengths=LENGTHS, most=most, person=person)

    @app.post("/")
    def begin():
        form = flask.request.form
        mode = modes.get(form.get("mode", ""))
        person = " ".join(form.get("person", "").split())[:60]
        count = form.get("count", type=int)
        if mode is None or not person or count is None or count < 2:
            flask.abort(400, "A session needs a name, a kind of test and at least 2 images.")
        plan = store.plan_comparison if mode.side_by_side else store.plan_judging
        trials = plan(mode.kinds, files, count, secrets.randbits(63))
        session = sessions.begin(person, mode.name, trials)
        response = flask.redirect(flask.url_for("ask", session_id=session), 303)
        response.set_cookie("person", person, max_age=365 * 86400, samesite="Lax", httponly=True)
        return response

    @app.get("/test/<session_id>")
    def ask(session_id):
        session = known(session_id)
        if session.next is None:
            return flask.redirect(flask.url_for("result", session_id=session_id), 303)
        mode, trial = modes[session.mode], session.next
        # In a comparison the buttons follow the pictures: the left one answers with the kind on the left.
        order = mode.kinds if trial.truth == mode.kinds[0] or not mode.side_by_side else mode.kinds[::-1]
        page = flask.render_template("turing_trial.html", session=session, mode=mode, trial=trial, order=order)
        return page, {"Cache-Control": "no-store"}

    @app.post("/test/<session_id>")
    def answer(session_id):
        session, form = known(session_id), flask.request.form
        kind, position = form.get("answer", ""), form.get("position", type=int)
        if position is None or kind not in modes[session.mode].kinds:
            flask.abort(400, "An answer needs a position and one of the two choices.")
        sessions.answer(session_id, position, kind, form.get("seconds", type=float))
        return flask.redirect(flask.url_for("ask", session_id=session_id), 303)

    @app.get("/image/<session_id>/<int:position>/<side>")
    def image(session_id, position, side):
        """Addresses carry positions, not names: nothing a curious person can see gives the answer away."""
        session = known(session_id)
        if not 0 <= position < len(session.trials) or side not in ("left", "right"):
            raise NotFound
        trial, mode = session.trials[position], modes[session.mode]
        kind, name = trial.truth, trial.image
        if side == "right":
            kind, name = next(k for k in mode.kinds if k != trial.truth), trial.other
        try:
            return flask.Response((folders[kind] / name).read_bytes(), mimetype="image/png")
        except FileNotFoundError:
            raise NotFound("evaluate.py has replaced the images since; please start another round.") from None

    @app.get("/result/<session_id>")
    def result(session_id):
        session = known(session_id)
        if session.next is not None:
            return flask.redirect(flask.url_for("ask", session_id=session_id), 303)
        everyone = [s for s in sessions.sessions() if s.mode == session.mode and s.next is None]
        mine = [s for s in everyone if s.person == session.person]
        pools = [(session.person, session.trials), ("everyone", _trials(everyone))]
        if len(mine) > 1:
            pools.insert(1, (f"{session.person}, all {len(mine)} sessions", _trials(mine)))
        mode = modes[session.mode]
        rows = [(name, len(trials), _verdict(mode, trials)) for name, trials in pools]
        table = None if mode.side_by_side else store.confusion(session.trials, mode.kinds)
        return flask.render_template(
            "turing_result.html", session=session, mode=mode, rows=rows, table=table, people=_people(everyone)
        )

    @app.get("/history")
    def history():
        done = [s for s in sessions.sessions() if s.mode in modes and s.answered]
        rows = [(s, modes[s.mode], _verdict(modes[s.mode], s.answered)) for s in done]
        return flask.render_template("turing_history.html", rows=rows)

    return app


def _trials(sessions: Sequence[store.Session]) -> list[store.Trial]:
    return [trial for session in sessions for trial in session.trials]


def _people(sessions: Sequence[store.Session]) -> int:
    return len({session.person for session in sessions})


def _verdict(mode: Mode, trials: Sequence[store.Trial]) -> dict:
    return store.comparison_verdict(trials, mode.kinds) if mode.side_by_side else store.judging_verdict(trials)


def _chance(p_value: float) -> str:
    return "less than 0.0001" if p_value < 1e-4 else f"{p_value:.4f}" if p_value < 0.01 else f"{p_value:.2f}"


class _QuietHandler(werkzeug.serving.WSGIRequestHandler):
    """Reports errors, but not every picture that was shown."""

    def log_request(self, code="-", size="-"):
        pass


def serve(workdir: str | Path, port: int = 8000, host: str = "127.0.0.1", against: str | Path | None = None) -> None:
    """Serve the test until Ctrl-C. ``port`` 0 takes a free one; ``host`` is loopback unless told otherwise.

    Raises UserError where images are missing or the address cannot be used.
    """
    app = create_app(workdir, against)
    if host in ("127.0.0.1", "localhost", "::1"):
        # A page elsewhere that rebinds its name to this machine must not read answers.
        app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost", "[::1]"]
    try:
        server = werkzeug.serving.make_server(host, port, app, threaded=True, request_handler=_QuietHandler)
    except (OSError, SystemExit) as error:
        raise UserError(f"--port: expected a free port on {host}, found {port} unusable ({error})") from None
    shown = f"[{host}]" if ":" in host else host
    print(f"Visual Turing test of {workdir}: http://{shown}:{server.server_port}/  (Ctrl-C ends it)", flush=True)
    server.serve_forever()  # returns on Ctrl-C and closes its socket
    print(f"\nAnswers are in {Path(workdir) / 'turing.sqlite'}")
