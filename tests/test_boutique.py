"""The shop that ships: its files, its figures, and what visual_share does to it."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import amrlib
from amrlib.datasets import boutique, large_shops, shoppers
from amrlib.datasets import traits as traits_room
from amrlib.datasets.catalogue import SETS
from amrlib.shipped import data_folder, read_shipped

try:
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
except ImportError:  # numpy 1
    from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__


@pytest.fixture(scope="module")
def shop():
    return amrlib.load_dataset("boutique")


def test_size_sparsity_and_cold_share_are_near_the_papers_pinterest(shop):
    found = boutique.statistics(shop)
    assert found["users"] == 3226
    for name, paper in {
        "items": 4998, "interactions": 9844, "users with one training interaction": 1512, "cold items": 1180,
        "distinct test items": 2243, "cold share of distinct test items": 0.526,
    }.items():  # fmt: skip
        assert found[name] == pytest.approx(paper, rel=0.05), name
    assert found["training interactions a user, median"] == 2 and found["training interactions an item, median"] == 1


def test_the_datas_own_page_shows_what_is_computed(shop):
    page = (data_folder() / "README.md").read_text(encoding="utf-8")
    found, pins, women = boutique.statistics(shop), SETS["pinterest"], SETS["amazon-women"].published
    u, i = (np.repeat(np.arange(len(counts)), counts) for counts in (pins.activity, pins.popularity))
    n = {"boutique": found["interactions"], "pins": pins.published["interactions"], "women": women["interactions"]}
    empty = [1 - c["interactions"] / (c["users"] * c["items"]) for c in (found, pins.published, women)]
    rows = [
        f"| users | {found['users']:,} | {len(u):,} | {women['users']:,} |",
        f"| items | {found['items']:,} | {len(i):,} | {women['items']:,} |",
        f"| interactions | {n['boutique']:,} | {n['pins']:,} | {n['women']:,} |",
        "| sparsity | " + " | ".join(f"{100 * e:.3f} %" for e in empty) + " |",
        f"| of a user, mean | {n['boutique'] / found['users']:.2f} | {n['pins'] / len(u):.2f} | "
        f"{n['women'] / women['users']:.2f} |",
        f"| of an item, mean | {n['boutique'] / found['items']:.2f} | {n['pins'] / len(i):.2f} | "
        f"{n['women'] / women['items']:.2f} |",
        f"| users with one training interaction | {found['activity'][1]:,} | {pins.activity[1]:,} | not published |",
        f"| training interactions a user: median, largest | {found['training interactions a user, median']:.0f}, "
        f"{found['training interactions a user, max']} | {np.median(u):.0f}, {u.max()} | not published |",
        f"| training interactions an item: median, largest | {found['training interactions an item, median']:.0f}, "
        f"{found['training interactions an item, max']} | {np.median(i):.0f}, {i.max()} | not published |",
        f"| cold items (no training interaction) | {found['cold items']:,} | {pins.popularity[0]:,} | not published |",
        f"| distinct test items | {found['distinct test items']:,} | ",
        f"| of these cold | {found['cold share of distinct test items']:.1%} | 52.6% | 45.9% |".replace("%", " %"),
        f"| test interactions with a cold item | {found['cold share of test interactions']:.1%} |".replace("%", " %"),
    ]
    curves = (found["activity"], pins.activity, found["popularity"], pins.popularity)
    for k in range(11):
        cells = [sum(counts[k:]) if k == 10 else counts[k] for counts in curves]
        rows.append(f"| {'10 or more' if k == 10 else k} | " + " | ".join(f"{c:,}" for c in cells) + " |")
    assert not [row for row in rows if row not in page]
    assert len(u) == pins.published["users"] and len(i) == pins.published["items"]
    assert u.sum() == i.sum() == pins.published["interactions"] - len(u)  # one of each user is the test's


def test_every_user_trains_and_is_tested_and_every_item_was_bought(shop):
    assert (np.diff(shop.indptr) >= 1).all() and (shop.test >= 0).all()
    assert not shop.notes  # nothing repeated, nothing leaked
    assert (np.bincount(np.concatenate([shop.train[:, 1], shop.test]), minlength=shop.n_items) >= 1).all()


def test_a_single_piece_is_sold_once(shop):
    sold = np.bincount(np.concatenate([shop.train[:, 1], shop.test]), minlength=shop.n_items)
    assert sold[shop.single].max() == 1 and sold[~shop.single].max() > 1


def test_features_are_scaled_as_the_authors_do_and_rows_belong_together(shop):
    assert shop.features.dtype == np.float32 and shop.features.shape == (shop.n_items, 128)
    assert np.abs(shop.features).max() == 1
    assert shop.images.dtype == np.uint8 and shop.images.shape == (shop.n_items, 28, 28)
    assert np.array_equal(shop.images, shop.pool_images[shop.pool])
    assert shop.hidden.dtype == np.float32 and shop.hidden.shape == (shop.n_items, 4)
    assert len(shop.labels) == len(shop.hidden) == len(shop.single) == shop.n_items
    assert len(shop.label_names) == 10 and set(shop.labels) == set(range(10))


def test_drawing_with_the_default_arguments_gives_the_stored_purchases():
    train, test, looks = shoppers.draw_purchases(
        read_shipped("items.npz"), boutique.DEFAULT_VISUAL_SHARE, boutique.DEFAULT_SEED
    )
    stored = read_shipped("purchases.npz")
    for name, drawn in {"train": train, "test": test, "looks": looks}.items():
        assert np.array_equal(drawn, stored[name]), name


def test_the_size_of_a_block_changes_nothing_but_memory():
    items = read_shipped("items.npz")
    a, b = (shoppers.draw_purchases(items, 0.3, 5, n_users=200, block=block) for block in (64, 200))
    assert all(np.array_equal(x, y) for x, y in zip(a, b))


def test_traits_are_measured_once_for_all_redraws_and_again_for_other_pictures(monkeypatch):
    items = read_shipped("items.npz")
    looked = []
    real = traits_room.visible_traits
    monkeypatch.setattr(traits_room, "visible_traits", lambda *given: looked.append(1) or real(*given))
    traits_room._traits_of_bytes.cache_clear()
    first = [shoppers.draw_purchases(items, share, 5, n_users=50) for share in (0.5, 0.2)]
    assert len(looked) == 1
    darker = {**items, "images": items["images"] // 2}
    other = shoppers.draw_purchases(darker, 0.5, 5, n_users=50)
    assert len(looked) == 2 and not np.array_equal(other[1], first[0][1])
    assert np.array_equal(shoppers.draw_purchases(items, 0.5, 5, n_users=50)[1], first[0][1])


def likeness(shop):
    """Mean cosine of a user's training and test item's centred features, less that of strangers' items."""
    F = shop.features - shop.features.mean(0)
    F /= np.linalg.norm(F, axis=1, keepdims=True)
    users, items = shop.train.T
    strangers = np.random.default_rng(0).permutation(shop.n_users)
    own, other = ((F[items] * F[test[users]]).sum(1).mean() for test in (shop.test, shop.test[strangers]))
    return own - other


def test_visual_share_turns_what_pictures_tell_up_and_down():
    none, default, all_ = (
        likeness(amrlib.load_dataset("boutique", visual_share=share, seed=1)) for share in (0, 0.5, 1)
    )
    assert abs(none) < 0.03  # 6,600 pairs: three standard errors are about 0.02
    assert default > 0.3 and all_ > default + 0.05


def test_a_seed_draws_other_shoppers_for_the_same_things(shop):
    other = amrlib.load_dataset("boutique", seed=3)
    assert other.n_users == shop.n_users and not np.array_equal(other.test, shop.test)
    _, a, b = np.intersect1d(shop.pool, other.pool, return_indices=True)
    assert len(a) > 3000 and np.array_equal(shop.images[a], other.images[b])
    assert np.array_equal(shop.hidden[a], other.hidden[b])
    assert np.allclose(shop.features[a] * shop.feature_scale, other.features[b] * other.feature_scale, rtol=1e-6)


def test_a_black_picture_has_finite_traits():
    images = np.zeros((3, 28, 28), np.uint8)
    images[1, 5:20, 5:20] = 200
    images[2] = 255
    traits, groups = traits_room.visible_traits(images, np.array([0, 1, 2]))
    assert np.isfinite(traits).all() and traits.shape == (3, len(groups))


def test_the_groups_of_visible_traits_weigh_what_is_documented(shop):
    traits, groups = traits_room.visible_traits(shop.images, shop.labels)
    for name, weight in traits_room.VISIBLE_WEIGHTS.items():
        assert traits[:, np.array(groups) == name].var(0).sum() == pytest.approx(weight)
    assert sum(traits_room.VISIBLE_WEIGHTS.values()) == pytest.approx(1)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), "half", None, True])
def test_a_wrong_visual_share_is_refused(wrong):
    with pytest.raises(ValueError, match="visual_share"):
        amrlib.load_dataset("boutique", visual_share=wrong)


@pytest.mark.parametrize("wrong", [-1, 0.5, "1", True])
def test_a_wrong_seed_is_refused(wrong):
    with pytest.raises(ValueError, match="seed"):
        amrlib.load_dataset("boutique", seed=wrong)


def test_loading_is_quick():
    times = []
    for _ in range(3):  # processor time, and the best of three: other programs may be running
        start = time.process_time()
        amrlib.load_dataset("boutique")
        times.append(time.process_time() - start)
    assert min(times) < 0.5


def test_the_list_of_checksums_names_every_file_and_each_agrees():
    folder = data_folder()
    listed = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == {f"boutique/{p.name}" for p in (folder / "boutique").iterdir()}
    for name, known in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == known
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert all(known in readme for known in listed.values())
    assert sum((folder / name).stat().st_size for name in listed) < 5.2e6


def test_a_damaged_or_missing_file_is_named_with_the_remedy(tmp_path, monkeypatch):
    shutil.copytree(data_folder(), tmp_path / "data")
    monkeypatch.setenv("AMRLIB_SHIPPED", str(tmp_path / "data"))
    path = tmp_path / "data" / "boutique" / "items.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"boutique/items\.npz.*git checkout"):
        amrlib.load_dataset("boutique")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"boutique/items\.npz.*git checkout"):
        amrlib.load_dataset("boutique")


# ---- shops of another size


@pytest.mark.parametrize("size", [(40, 100), (700, 2000), (3226, 6300), (2000, 9000)])
def test_a_shop_of_another_size(size):
    large = amrlib.load_dataset("boutique", size=size)
    n_items = size[1]
    assert (large.n_users, large.n_items) == size and large.features.shape == (n_items, 128) and not large.notes
    assert len(large.images) == len(large.hidden) == n_items
    sold = np.bincount(np.concatenate([large.train[:, 1], large.test[large.test_users]]), minlength=n_items)
    assert sold[large.single].max() <= 1  # a single piece is sold once, across all blocks
    assert np.array_equal(large.images[-1], large.pool_images[large.pool[-1]])
    again = amrlib.load_dataset("boutique", size=size)
    assert np.array_equal(again.train, large.train) and np.array_equal(again.test, large.test)


def test_a_shop_of_the_same_size_is_much_like_the_one_that_ships(shop):
    same, ships = boutique.statistics(amrlib.load_dataset("boutique", size=(3226, 6300))), boutique.statistics(shop)
    for name in ("interactions", "users with one training interaction", "distinct test items",
                 "cold share of distinct test items", "training interactions an item, max"):  # fmt: skip
        assert same[name] == pytest.approx(ships[name], rel=0.1), name


def test_in_a_larger_shop_too_taste_is_what_visual_share_says():
    items = read_shipped("items.npz")
    visible, _ = traits_room.visible_traits(items["images"], items["labels"])
    distance = {}
    for share in (0.0, 1.0):
        train, _, looks, larger = large_shops.draw_large(items, share, 0, 2000, 9000)
        look = looks[train[:, 0], 0]  # of the first look
        apart = visible[larger["pool"][train[:, 1]]] - visible[larger["pool"][look[:, 0]]]
        unseen = larger["hidden"][train[:, 1]] - larger["hidden"][look[:, 1]]
        distance[share] = np.square(apart).sum(1).mean() / 2, np.square(unseen).sum(1).mean() / 8
    assert distance[1.0][0] < 0.6 < 0.9 < distance[0.0][0] < 1.1  # 1: as far apart as any two items
    assert distance[0.0][1] < 0.6 < 0.9 < distance[1.0][1] < 1.1


PEAK = """
import resource, sys
import amrlib
users, items = int(sys.argv[1]), int(sys.argv[2])
shop = amrlib.load_dataset("boutique", size=(users, items))
assert (shop.n_users, shop.n_items) == (users, items)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10)  # MB
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads peak memory as Linux counts it")
def test_memory_grows_with_users_plus_items_not_with_their_product():
    """AMRLIB_TEST_SIZE=1000000 does the same for a million by a million: a minute and about 1.1 GB."""
    n = int(os.environ.get("AMRLIB_TEST_SIZE", 60_000))
    peak = []
    for size in ((1000, 1000), (n, n)):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, size)], capture_output=True, text=True, cwd=data_folder().parent
        )
        assert done.returncode == 0, done.stderr
        peak.append(int(done.stdout))
    # features are 512 bytes an item, pictures 784 up to PICTURES_UP_TO, lists and interactions some hundreds a user;
    # a byte for each user and item would be 3.6 GB
    allowed = 200 + n * (512 + 784 * (n <= boutique.PICTURES_UP_TO) + 800) / 2**20
    print(f"{n:,} x {n:,}: peak {peak[1]:,} MB, {peak[1] - peak[0]:,} MB more than a small shop; allowed {allowed:.0f}")
    assert peak[1] - peak[0] < allowed


@pytest.mark.parametrize("size", [(0, 100), (10, 99), (10, 1_000_001), (10,), 10, (10.0, 100), ("10", "100")])
def test_sizes_that_are_refused(size):
    with pytest.raises(ValueError, match=r"size must be \(users, items\)"):
        amrlib.load_dataset("boutique", size=size)


# ---- the same shop on every processor


def digest(*arrays):
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def test_a_drawn_shop_is_the_one_that_any_other_machine_draws():
    drawn = amrlib.load_dataset("boutique", size=(500, 400), seed=0)
    assert digest(drawn.train, drawn.test) == "b06462297a8c2e2b07ed56d4752d7e53d13463e120d4a679ba28cae6e99c9f0e"
    rest = digest(drawn.looks, drawn.pool, drawn.hidden, drawn.single, drawn.features)
    assert rest == "2d8513512ae832f91b313090e31ac7671a4e4c5ebc7fca0ed8c8962c05072a99"


DRAW = """
import hashlib
import amrlib
from bench.workloads import SIZES, make

def say(*arrays):
    print(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest())

for size, seed in (((500, 400), 0), ((500, 400), 1), ((500, 400), 2), ((10_000, 20_000), 0), (None, 3)):
    shop = amrlib.load_dataset("boutique", size=size, seed=seed)
    say(shop.train, shop.test, shop.looks, shop.pool, shop.hidden, shop.single)
made = make(SIZES["pinterest"], features=False)
say(made.train, made.test)
"""


def as_other_processors():
    """Settings that make this one compute as others do: numpy, its BLAS, the C library's exp and log, torch, threads."""
    sets = [name for name in __cpu_dispatch__ if __cpu_features__[name]]  # by numpy's own names
    yield {
        "NPY_DISABLE_CPU_FEATURES": " ".join(sets), "OPENBLAS_CORETYPE": "Nehalem",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA", "ATEN_CPU_CAPABILITY": "default",
    }  # fmt: skip
    if __cpu_features__.get("AVX2"):
        newer = [name for name in sets if name.startswith(("AVX512", "X86_V4"))]
        yield {"NPY_DISABLE_CPU_FEATURES": " ".join(newer), "OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2"}
    if __cpu_features__.get("AVX512_SKX"):
        yield {"OPENBLAS_CORETYPE": "SkylakeX", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}


@pytest.mark.slow
def test_the_same_shops_under_the_instructions_of_other_processors():
    root = Path(__file__).resolve().parents[1]

    def drawn(**switch):
        env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **switch}
        done = subprocess.run([sys.executable, "-c", DRAW], capture_output=True, text=True, cwd=root, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    here = drawn()
    assert len(set(here)) == 6
    for switch in as_other_processors():
        assert drawn(**switch) == here, switch


def test_no_entry_of_a_table_depends_on_the_last_digit_of_exp_or_log(monkeypatch):
    given = []
    real = large_shops._rounded
    monkeypatch.setattr(large_shops, "_rounded", lambda v, *n: given.append((np.array(list(v)), *n)) or real(given[-1][0], *n))
    tables = [f for f in vars(large_shops).values() if hasattr(f, "cache_clear") and f.__module__ == large_shops.__name__]
    for table in tables:
        table.__wrapped__()
    large_shops.draw_large(read_shipped("items.npz"), 0.5, 0, 50, 100)
    assert len(tables) == 4 and len(given) >= 5
    for values, *digits in given:
        steps = np.abs(values) * 2.0 ** (digits[0] if digits else large_shops.DIGITS)
        assert np.abs(steps % 1 - 0.5).min() > 30 * np.spacing(steps.max())  # libraries differ by one or two of these


def test_drawn_numbers_are_normal_exponential_and_negative_binomial():
    u = (np.arange(10**6) + 0.5) / 10**6
    normal = large_shops._off_table(large_shops._normal_table(), u)
    waits = large_shops._off_table(large_shops._exponential_table(), u)
    for values, moments in ((normal, (0, 1, 0, 3)), (waits, (1, 2, 6, 24))):
        for power, moment in enumerate(moments, 1):
            assert (values**power).mean() == pytest.approx(moment, abs=1e-3, rel=[0, 1e-3, 5e-3, 1e-2, 3e-2][power])
    chances = stats.nbinom.cdf(np.arange(9), 1.2, 1.2 / 2.25)
    assert np.allclose(large_shops._count_table(), chances, atol=1e-8)


def test_the_smallest_of_equal_ones_are_the_first():
    keys = np.random.default_rng(0).integers(0, 5, (40, 30))
    values, places = large_shops._smallest(keys, 12)
    order = np.argsort(keys, axis=1, kind="stable")[:, :12]
    assert np.array_equal(places, order) and np.array_equal(values, np.take_along_axis(keys, order, 1))
