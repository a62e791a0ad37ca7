"""The visual Turing test: fair plans, answers kept once, right statistics, clear errors, a real browser."""

import contextlib
import functools
import io
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from werkzeug.serving import make_server

from eyegan_jax.errors import UserError
from eyegan_jax.evaluation import metrics, turing, turing_store

SHADES = {"real": 200, "refined": 100, "raw": 40}


def fill(workdir, kinds=("real", "refined"), count=12):
    for kind in kinds:
        folder = workdir / "report" / "turing" / kind
        folder.mkdir(parents=True)
        for i in range(count):
            image = np.full((35, 55), SHADES[kind], np.uint8)
            image[0, i % 55] = 255
            Image.fromarray(image).save(folder / f"{i:03d}.png")
    return workdir


@pytest.fixture
def workdir(tmp_path):
    return fill(tmp_path / "run")


def kind_of(response):
    """What a shown picture is, by its shade."""
    shade = int(np.asarray(Image.open(io.BytesIO(response.get_data())))[20, 20])
    return next(kind for kind, value in SHADES.items() if value == shade)


def take(client, answer, mode="judge", count=20, person="Ada"):
    """Answer a whole session with ``answer(kind shown) -> kind``; returns its id."""
    begun = client.post("/", data={"person": person, "mode": mode, "count": count})
    assert begun.status_code == 303
    address = begun.location
    session = address.rsplit("/", 1)[1]
    while (page := client.get(address)).status_code == 200:
        html = page.get_data(as_text=True)
        position = re.search(r'name="position" value="(\d+)"', html)[1]
        shown = [kind_of(client.get(src)) for src in re.findall(r'<img src="([^"]+)"', html)]
        buttons = re.findall(r'name="answer" value="([^"]+)"', html)
        choice = answer(shown, buttons)
        assert client.post(address, data={"position": position, "answer": choice}).status_code == 303
    assert page.location == f"/result/{session}"
    return session


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(2, 30), st.integers(2, 30))
def test_plans_are_balanced_and_show_nothing_twice(seed, count, a, b):
    files = {"real": [f"r{i}" for i in range(a)], "refined": [f"f{i}" for i in range(b)]}
    trials = turing_store.plan_judging(("real", "refined"), files, count, seed)
    counts = Counter(t.truth for t in trials)
    assert counts["real"] == counts["refined"] == min(count // 2, a, b)
    assert len({(t.truth, t.image) for t in trials}) == len(trials)
    assert all(t.image in files[t.truth] for t in trials)

    pairs = turing_store.plan_comparison(("real", "refined"), files, count, seed)
    assert len(pairs) == min(count, a, b)
    left = sum(t.truth == "real" for t in pairs)
    assert abs(2 * left - len(pairs)) <= 1


def test_order_is_random():
    files = {"real": [f"r{i}" for i in range(50)], "refined": [f"f{i}" for i in range(50)]}
    plans = [turing_store.plan_judging(("real", "refined"), files, 100, seed) for seed in range(40)]
    first_half = [sum(t.truth == "real" for t in plan[:50]) for plan in plans]
    # Hypergeometric: mean 25, deviation 2.5.
    assert 24 < np.mean(first_half) < 26 and 1.5 < np.std(first_half) < 4


def test_a_perfect_judge_and_a_fooled_one(workdir):
    client = turing.create_app(workdir).test_client()
    session = take(client, lambda shown, buttons: shown[0])
    page = client.get(f"/result/{session}").get_data(as_text=True)
    assert "20 of 20 right" in page and "better than guessing" in page and "less than 0.0001" in page
    fooled = take(client, lambda shown, buttons: "real", person="Bob")
    page = client.get(f"/result/{fooled}").get_data(as_text=True)
    assert "10 of 20 right" in page and "cannot be told from guessing" in page
    assert "2\npeople so far" in page and "30" in page, "pooled over everyone: 30 of 40"
    expected = metrics.binomial_test(30, 40)["p_value"]
    assert f"{expected:.4f}" in page

    history = client.get("/history").get_data(as_text=True)
    assert "Ada" in history and "Bob" in history and "20 of 20" in history
    with contextlib.closing(sqlite3.connect(workdir / "turing.sqlite")) as db, db:
        assert db.execute("SELECT COUNT(*) FROM trials WHERE answer IS NOT NULL").fetchone() == (40,)


def test_sessions_survive_a_restart_and_answers_are_kept_once(workdir):
    client = turing.create_app(workdir).test_client()
    address = client.post("/", data={"person": "Ada", "mode": "judge", "count": 20}).location
    client.post(address, data={"position": 0, "answer": "real", "seconds": "1.5"})
    client.post(address, data={"position": 0, "answer": "refined"})

    again = turing.create_app(workdir).test_client()
    assert ">2 of 20<" in again.get(address).get_data(as_text=True)
    with contextlib.closing(sqlite3.connect(workdir / "turing.sqlite")) as db, db:
        assert db.execute("SELECT answer, seconds FROM trials WHERE position = 0").fetchone() == ("real", 1.5)
    session = address.rsplit("/", 1)[1]
    assert again.get(f"/result/{session}").location == address, "no result before the end"
    assert "(unfinished)" in again.get("/history").get_data(as_text=True)


def test_control_is_offered_where_raw_images_are(workdir):
    assert "Control" not in turing.create_app(workdir).test_client().get("/").get_data(as_text=True)
    fill(workdir, ["raw"])
    client = turing.create_app(workdir).test_client()
    session = take(client, lambda shown, buttons: shown[0], mode="control")
    assert "20 of 20 right" in client.get(f"/result/{session}").get_data(as_text=True)


def test_comparison_shows_both_systems_and_counts_preferences(workdir, tmp_path):
    other = fill(tmp_path / "other", ["refined"])
    for path in (other / "report" / "turing" / "refined").glob("*.png"):
        Image.fromarray(np.full((35, 55), SHADES["raw"], np.uint8)).save(path)
    client = turing.create_app(workdir, against=other).test_client()
    sides = []

    def prefer_own(shown, buttons):
        assert sorted(shown) == ["raw", "refined"]
        sides.append(shown.index("refined"))
        return buttons[shown.index("refined")]

    session = take(client, prefer_own, mode="compare other", count=10)
    page = client.get(f"/result/{session}").get_data(as_text=True)
    assert "10 : 0" in page and "run against other" in page
    assert sum(sides) == 5, "each system stands on the left as often as on the right"
    third = fill(tmp_path / "third", ["refined"])
    elsewhere = turing.create_app(workdir, against=third).test_client()
    assert elsewhere.get(f"/result/{session}").status_code == 404, "answers about another system stay apart"


def test_pictures_do_not_give_the_answer_away(workdir):
    client = turing.create_app(workdir).test_client()
    address = client.post("/", data={"person": "Ada", "mode": "judge", "count": 20}).location
    html = client.get(address).get_data(as_text=True)
    source = re.search(r'<img src="([^"]+)"', html)[1]
    assert not re.search(r"real|refined|\.png", source)
    headers = str(client.get(source).headers)
    assert "refined" not in headers and "real" not in headers and ".png" not in headers


def test_mistakes_of_a_client_are_refused(workdir):
    client = turing.create_app(workdir).test_client()
    assert client.get("/test/nothing").status_code == 404
    assert client.post("/", data={"person": " ", "mode": "judge", "count": 20}).status_code == 400
    assert client.post("/", data={"person": "A", "mode": "other", "count": 20}).status_code == 400
    address = client.post("/", data={"person": "<b>A</b>", "mode": "judge", "count": 20}).location
    assert client.post(address, data={"position": 0, "answer": "nonsense"}).status_code == 400
    session = address.rsplit("/", 1)[1]
    assert client.get(f"/image/{session}/99/left").status_code == 404
    assert client.get(f"/image/{session}/0/..").status_code in (404, 308)
    assert "<b>A</b>" not in client.get("/history").get_data(as_text=True)


def test_missing_images_are_named_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"turing/real: expected at least 2 PNG images, found 0; run evaluate"):
        turing.create_app(tmp_path)


def test_a_taken_port_is_named(workdir):
    taken = make_server("127.0.0.1", 0, lambda *_: [])
    try:
        with pytest.raises(UserError, match=f"found {taken.server_port} unusable"):
            turing.serve(workdir, port=taken.server_port)
    finally:
        taken.server_close()


def test_serving_answers_loopback_names_only_and_ends_on_ctrl_c(workdir):
    # A shell may start tests with Ctrl-C ignored, which children inherit.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from eyegan_jax.evaluation import turing; turing.serve(sys.argv[1], port=0)"
    )
    command = [sys.executable, "-c", code, str(workdir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
            with urllib.request.urlopen(address) as page:
                assert "Can you tell?" in page.read().decode()
            rebound = urllib.request.Request(address, headers={"Host": "elsewhere.example"})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(rebound)
            with refused.value as response:
                assert response.code == 400
            process.send_signal(signal.SIGINT)
            assert "turing.sqlite" in process.communicate(timeout=30)[0]
            assert process.returncode == 0
        finally:
            process.kill()


@functools.cache
def chromium():
    return next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
def test_a_real_browser_shows_the_picture_and_answers_by_key(workdir, tmp_path):
    """Headless Chromium loads a trial; a page that embeds it presses the arrow key as a person would."""
    app = turing.create_app(workdir)
    addresses = []

    @app.get("/press")
    def press():
        return f"""<iframe id=f src="{addresses[0]}" width=900 height=800></iframe><script>
        let pressed = false;
        f.onload = () => {{
          const d = f.contentDocument, image = d.querySelector("img");
          if (!pressed) {{
            pressed = true;
            document.title = `${{image.naturalWidth}}x${{image.naturalHeight}} shown ${{image.clientWidth}}`;
            d.dispatchEvent(new KeyboardEvent("keydown", {{key: "ArrowRight", bubbles: true}}));
          }}
        }};</script>"""

    begun = app.test_client().post("/", data={"person": "Ada", "mode": "judge", "count": 20})
    addresses.append(begun.location)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'browser'}",
        "--virtual-time-budget=8000",
        "--dump-dom",
        f"http://127.0.0.1:{server.server_port}/press",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(tmp_path)}
        )
    finally:
        server.shutdown()
        server.server_close()
    assert re.search(r"<title>55x35 shown \d{3}</title>", done.stdout), done.stderr[-2000:]
    with contextlib.closing(sqlite3.connect(workdir / "turing.sqlite")) as db, db:
        rows = db.execute("SELECT position, answer, seconds FROM trials WHERE answer IS NOT NULL").fetchall()
    assert [row[:2] for row in rows] == [(0, "refined")]
    assert rows[0][2] > 0
