"""Retrieval against brute force in NumPy: ties, small and unequal pools, blocks, weights, and the file."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyegan_jax import retrieval
from eyegan_jax.errors import UserError


def brute_force(targets, candidates, count, weights=(1, 1, 1, 1), own=None):
    """The equation with explicit one-hot masks, and a stable sort."""
    one_hot = np.eye(4, dtype=np.int64)
    rows = []
    for i, target in enumerate(targets):
        distance = np.array([(((one_hot[target] - one_hot[c]) ** 2) @ np.array(weights)).sum() for c in candidates])
        order = [j for j in np.argsort(distance, kind="stable") if own is None or j != own[i]][:count]
        fill = count - len(order)
        rows.append((order + [-1] * fill, [*distance[order], *[2**31 - 1] * fill]))
    index, distance = zip(*rows, strict=True)
    return np.array(index), np.array(distance)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.integers(1, 11),
    st.sampled_from([(1, 1, 1, 1), (1, 2, 4, 8), (0, 0, 1, 3)]),
    st.booleans(),
)
def test_equals_brute_force_with_many_ties(seed, targets, candidates, weights, exclude):
    rng = np.random.default_rng(seed)
    # Six pixels and few distinct masks: most distances occur several times.
    pool = rng.integers(0, 4, (3, 2, 3))
    t, c = pool[rng.integers(0, 3, targets)], pool[rng.integers(0, 3, candidates)]
    own = rng.integers(-1, candidates, targets) if exclude else None
    got = retrieval.nearest(t, c, 4, weights=weights, own=own, target_block=2, candidate_block=4)
    np.testing.assert_array_equal(got, brute_force(t, c, 4, weights, own))


def test_realistic_sizes_are_exact():
    rng = np.random.default_rng(1)
    blobs = np.repeat(np.repeat(rng.integers(0, 4, (40, 8, 5)), 20, 1), 20, 2)  # 160x100, as eyes are: coherent
    index, distance = retrieval.nearest(blobs[:6], blobs, 10, own=np.arange(6), candidate_block=16)
    np.testing.assert_array_equal((index, distance), brute_force(blobs[:6], blobs, 10, own=np.arange(6)))
    assert not (index == np.arange(6)[:, None]).any()


def test_the_same_mask_ranks_first_and_unit_weights_count_pixels():
    rng = np.random.default_rng(2)
    pool = rng.integers(0, 4, (9, 6, 7))
    index, distance = retrieval.nearest(pool[4:5], pool, 9)
    assert index[0, 0] == 4 and distance[0, 0] == 0
    np.testing.assert_array_equal(distance[0], [2 * (pool[4] != pool[i]).sum() for i in index[0]])


def test_people_are_ranked_apart_and_survive_the_file(tmp_path):
    rng = np.random.default_rng(3)
    rankings = {}
    for person, size in (("U1", 3), ("U2", 12)):
        names = [f"{person}/{i}" for i in range(size)]
        masks = rng.integers(0, 4, (size, 4, 5))
        rankings[person] = retrieval.rank_person(names[:2], masks[:2], names, masks, count=5)
    retrieval.save_rankings(tmp_path / "r.h5", rankings, (1, 1, 1, 1))
    loaded = retrieval.load_rankings(tmp_path / "r.h5")
    assert set(loaded) == {"U1", "U2"}
    for person, ranking in loaded.items():
        for field in ("targets", "candidates", "index", "distance"):
            np.testing.assert_array_equal(getattr(ranking, field), getattr(rankings[person], field))
        for target in ranking.targets:
            found = ranking.names(target)
            assert target not in found and all(name.startswith(person) for name in found)
    assert len(loaded["U1"].names("U1/0")) == 2 and len(loaded["U2"].names("U2/0")) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((1, 2, 2), int), np.zeros((0, 2, 2), int)), "at least one candidate"),
        ((np.full((1, 2, 2), 5), np.zeros((1, 2, 2), int)), r"target masks with ids 0 to 3, found \[5\]"),
        ((np.zeros((1, 2, 2), int), np.zeros((1, 2, 3), int)), "size 2x2, found 2x3"),
        ((np.zeros((1, 2, 2)), np.zeros((1, 2, 2), int)), "expected integer target masks"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, message):
    with pytest.raises(UserError, match=message):
        retrieval.nearest(*arguments, 1)
    with pytest.raises(UserError, match="class weights"):
        retrieval.nearest(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2), int), 1, weights=(1, 0.5, 1, 1))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="found nothing"):
        retrieval.load_rankings(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(UserError, match="expected an HDF5 ranking file"):
        retrieval.load_rankings(tmp_path / "text.h5")
    h5py.File(tmp_path / "other.h5", "w").close()
    with pytest.raises(UserError, match="found other HDF5"):
        retrieval.load_rankings(tmp_path / "other.h5")
