"""A record that cannot be is refused, in words; one that can is drawn, with its verdict."""

import copy
import hashlib
import json
import math
import re

import numpy as np
import pytest

from amrbook import __main__
from amrbook.experiments import load_results, over_seeds
from amrbook.replicate import page, paper, show, side, submit, verdicts
from amrbook.replicate.open_choices import record_choices, warm_candidates
from amrbook.replicate.paper import MEASURES, TABLE_2
from amrbook.replicate.recipes import ATTACKED, RECIPES
from amrbook.replicate.record import LAYOUT, problems, write_record
from amrbook.settings import trials
from amrlib import Dataset
from amrlib.datasets.catalogue import SETS

VERSIONS = {"amrlib": "0.2.0", "torch": "2.9.0", "numpy": "2.1.0", "python": "3.12.1"}


def six(n, hr10, rng):
    """Six measures of n users that can be: ranks are drawn until HR@10 is about right."""
    ranks = np.where(rng.random(n) < hr10, rng.integers(0, 10, n), rng.integers(10, 999, n))
    gain = 1 / np.log2(ranks + 2.0)
    found = {f"HR@{k}": round(float((ranks < k).mean()), 9) for k in (5, 10, 20)}
    return found | {f"NDCG@{k}": round(float(np.where(ranks < k, gain, 0).mean()), 9) for k in (5, 10, 20)}


def three_parts(users, hr10, rng):
    parts = {part: six(users[part], hr10, rng) for part in ("warm", "cold")}
    total = {m: round(sum(parts[p][m] * users[p] for p in parts) / users["all"], 9) for m in MEASURES}
    return {"all": total, **parts}


def made_record(dataset="pinterest", recipes=("paper", "authors"), seeds=3, quick=False, close=True, weights=False):
    """A record such as a run on the set would have left, with the paper's HR@10, or far from it."""
    rng, published = np.random.default_rng(0), SETS[dataset].published
    held, cold = published["users"], published["users"] // 3
    users = {"all": held, "warm": held - cold, "cold": cold}
    files = {key: {"size": 1, "sha256": hashlib.sha256(key.encode()).hexdigest(), **({"git": f.git} if f.git else {})}
             for key, f in SETS[dataset].files.items() if key != "5-core"}  # fmt: skip
    record = {
        "layout": LAYOUT,
        "dataset": {"name": dataset, "users": held, "items": published["items"], "rows": published["interactions"] - held,
                    "held out": held, "cold held out": cold, "dimensions": 2048, "rivals": 999,
                    "fingerprint": {"train": "a", "test": "b", "features": "c"}, "files": files, "notes": []},
        "quick": quick, "dim": 64, "versions": VERSIONS, "devices": ["cuda: a card"], "recipes": {},
    }  # fmt: skip

    def entry(model):
        theirs = TABLE_2[dataset].get(model, TABLE_2[dataset]["VBPR"])[1] if dataset in TABLE_2 else 0.1
        hr10 = theirs if close else 0.5
        one = {"sampled": three_parts(users, hr10, rng), "full": three_parts(users, hr10 / 4, rng), "users": users,
               "seconds": 12.5, "epochs": 2000, "made with": VERSIONS, "device": "cuda: a card"}  # fmt: skip
        if model not in ("Popularity", "MF-BPR", "MF-eALS"):
            clean = one["sampled"]["all"]["NDCG@10"]
            one["noise"] = {t: {"0.05": clean * 0.96, "0.1": clean * 0.9, "0.2": clean * 0.7} for t in ("test", "train")}
            looks = [six(held, hr10, rng), one["sampled"]["all"]]
            one["looks"] = {"epoch": [1950, 2000]} | {m: [look[m] for look in looks] for m in MEASURES}
        return one

    for recipe in recipes:
        record["recipes"][recipe] = {"settings": {}, "trials": {}, "epochs": 2000, "seeds": {
            str(seed): {model: entry(model) for model in RECIPES[recipe].models} for seed in range(seeds)}}  # fmt: skip
    if weights:
        record["weights"] = entry("VBPR")
    return record


def put(folder, record, name="a.json"):
    write_record(folder / name, record)
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole():
    return made_record()


# ---- the paper's figures, typed a second time, from the fact sheet's columns

COLUMNS = {
    "pinterest": {
        "HR@5": ".0353 .1262 .1228 .1116 .1352 .1392", "HR@10": ".0604 .1584 .1534 .1600 .1829 .2033",
        "HR@20": ".0927 .1953 .1891 .2179 .2347 .2697", "NDCG@5": ".0213 .0922 .0949 .0806 .1005 .1026",
        "NDCG@10": ".0296 .1025 .1048 .0962 .1157 .1230", "NDCG@20": ".0376 .1118 .1138 .1108 .1287 .1398",
        "RI": "281.73 22.18 22.82 26.17 7.70",
    },
    "amazon-women": {
        "HR@5": ".1003 .1322 .1306 .0865 .1333 .1402", "HR@10": ".1460 .1660 .1720 .1317 .1747 .1864",
        "HR@20": ".2040 .2026 .2183 .1964 .2249 .2360", "NDCG@5": ".0685 .1009 .0950 .0568 .0980 .1022",
        "NDCG@10": ".0832 .1118 .1084 .0714 .1113 .1171", "NDCG@20": ".0978 .1211 .1201 .0876 .1240 .1296",
        "RI": "34.27 7.98 7.91 52.61 5.14",
    },
}  # fmt: skip
ORDER = ("Popularity", "MF-eALS", "MF-BPR", "DUIF", "VBPR", "AMR")
DROPS = {  # Table 3, by ε: VBPR / AMR
    "pinterest": {0.05: "4.2 / 2.6", 0.1: "11.9 / 6.2", 0.2: "31.8 / 18.4"},
    "amazon-women": {0.05: "8.7 / 1.4", 0.1: "30.4 / 5.3", 0.2: "67.7 / 20.2"},
}


@pytest.mark.parametrize("dataset", COLUMNS)
def test_a_second_transcription_agrees(dataset):
    for place, measure in enumerate(MEASURES):
        column = [float(x) for x in COLUMNS[dataset][measure].split()]
        assert [TABLE_2[dataset][model][place] for model in ORDER] == column, measure
    assert [paper.IMPROVEMENT[dataset][m] for m in ORDER[:-1]] == [float(x) for x in COLUMNS[dataset]["RI"].split()]
    for place, epsilon in enumerate(paper.EPSILONS):
        vbpr, amr = (float(x) for x in DROPS[dataset][epsilon].split(" / "))
        assert (-vbpr, -amr) == tuple(paper.TABLE_3[dataset][model][place] for model in ("VBPR", "AMR"))
    assert list(TABLE_2[dataset]) == list(ORDER)


@pytest.mark.parametrize("dataset", COLUMNS)
@pytest.mark.parametrize("model", ORDER[:-1])
def test_the_papers_own_improvement_to_a_tenth_of_a_point(dataset, model):
    assert paper.improvement(dataset, model) == pytest.approx(paper.IMPROVEMENT[dataset][model], abs=0.1)


def test_the_papers_figures_lie_where_its_text_says():
    assert (paper.CONTINUED, paper.NO_NOISE) == (
        {"pinterest": 0.1140, "amazon-women": 0.1067}, {"pinterest": 0.1190, "amazon-women": 0.1073})  # fmt: skip


def test_a_second_transcription_of_the_later_studies_agrees():
    typed = {
        "denoise": (".0337/.0121 .0316/.0113", ".0144/.0056 .0081/.0032", ".0597/.0236 .0301/.0111"),
        "mtpr": ("all .0541 .0590", "warm .0557 .0749", "cold .0493 .0236", "all .1152 .1177", "all .1743 .1778"),
    }  # fmt: skip
    denoise = [row[3:] for row in paper.OTHERS if row[0] == "denoise"]
    for place, text in enumerate(typed["denoise"]):
        vbpr, amr = ([float(x) for x in part.split("/")] for part in text.split())
        assert denoise[2 * place : 2 * place + 2] == list(zip(vbpr, amr, strict=True))
    mtpr = [(row[2].split()[-1], *row[3:]) for row in paper.OTHERS if row[0] == "mtpr"]
    assert mtpr == [(part, float(a), float(b)) for part, a, b in map(str.split, typed["mtpr"])]
    assert {row[0] for row in paper.OTHERS} == set(paper.STUDIES)


# ---- what is refused


def test_a_record_that_can_be_has_no_problem(whole, tmp_path):
    assert problems(put(tmp_path, whole)) == []
    for dataset in ("amazon-clothing", "amazon-women"):
        assert problems(put(tmp_path, made_record(dataset, ("authors",), 1))) == []


def spoil(record, what):
    paper_seeds = record["recipes"]["paper"]["seeds"]
    one = paper_seeds["1"]["VBPR"]
    if what == "another file":
        record["dataset"]["files"]["train"]["git"] = "0" * 40
    elif what == "no checksum of a file":
        del record["dataset"]["files"]["features"]
    elif what == "too many users":
        record["dataset"]["users"] += 400
    elif what == "more cold than held out":
        record["dataset"]["cold held out"] = record["dataset"]["held out"] + 1
    elif what == "half a hit":
        one["sampled"]["all"]["HR@10"] += 0.5 / one["users"]["all"]
    elif what == "too good for its hits":
        one["full"]["cold"]["NDCG@10"] = one["full"]["cold"]["HR@10"] + 0.01
    elif what == "parts do not add up":
        one["full"]["warm"] = copy.deepcopy(paper_seeds["0"]["VBPR"]["full"]["warm"])
    elif what == "not a number":
        one["sampled"]["warm"]["HR@5"] = 1.5
    elif what == "mixed versions":
        one["made with"] = VERSIONS | {"torch": "2.0.0"}
    elif what == "another card":
        one["device"] = "cuda: another card"
    elif what == "a model too few":
        del paper_seeds["1"]["AMR"]
    elif what == "an unknown model":
        paper_seeds["1"]["BEST"] = paper_seeds["1"].pop("AMR")
    elif what == "an unknown recipe":
        record["recipes"]["mine"] = record["recipes"].pop("authors")
    elif what == "no result":
        record["recipes"] = {}
    elif what == "another set":
        record["dataset"]["name"] = "boutique"
    elif what == "looks that end elsewhere":
        one["looks"]["epoch"] = [1950, 2000]
        for measure in MEASURES:
            one["looks"][measure] = [one["looks"][measure][0]] * 2
    elif what == "noise at other strengths":
        one["noise"]["test"] = {"0.3": 0.1}
    elif what == "half of the noise":
        del one["noise"]["test"]
    elif what == "backwards in time":
        one["seconds"] = -1.0
    elif what == "other versions":
        record["versions"] = {"torch": "2"}
    elif what == "more rivals than items":
        record["dataset"]["rivals"] = record["dataset"]["items"]
    elif what == "impossible weights":
        record["weights"] = copy.deepcopy(one)
        record["weights"]["sampled"]["cold"]["NDCG@5"] = 0.9
    elif what == "another layout":
        record["layout"] = LAYOUT + 1
    elif what == "cut off":
        del record["dataset"]["held out"]


WORDS = {
    "another file": "train .pinterest/pos.txt. has the wrong checksum", "no checksum of a file": "checksum of features",
    "too many users": "3,226 were published", "more cold than held out": "more cold ones than held-out",
    "half a hit": "no whole number of hits", "too good for its hits": "NDCG@10 cannot be with HR@10",
    "parts do not add up": "warm and cold items is not that of all", "not a number": "not six measures",
    "mixed versions": "made with other versions", "another card": "not among the record's devices",
    "a model too few": "has not all models", "an unknown model": "has no such model", "an unknown recipe": "'mine' is none of",
    "no result": "no result", "another set": "not a public one", "looks that end elsewhere": "last look",
    "noise at other strengths": "not NDCG@10 at the ε", "backwards in time": "be negative", "other versions": "versions must",
    "more rivals than items": "sampled rivals among", "another layout": "layout 2, here it is 1", "cut off": "not laid out",
    "half of the noise": "noise on train alone",
    "impossible weights": "the released weights, sampled, cold: NDCG@5 cannot",
}  # fmt: skip


@pytest.mark.parametrize("what", WORDS)
def test_a_record_that_cannot_be_is_refused(whole, tmp_path, what):
    record = copy.deepcopy(whole)
    spoil(record, what)
    stored = put(tmp_path, record)  # with a right checksum of its own
    found = problems(stored)
    assert found and any(re.search(WORDS[what], line) for line in found), found
    with pytest.raises(ValueError, match="cannot be sent in"):
        submit.submit(tmp_path / "a.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if what not in ("another set", "another layout", "cut off"):
        with pytest.raises(ValueError, match=r"a\.json cannot be"):
            verdicts.recorded("pinterest", tmp_path)


def test_a_cell_changed_by_hand_shows(whole, tmp_path):
    record = put(tmp_path, whole)
    record["recipes"]["paper"]["seeds"]["0"]["VBPR"]["seconds"] = 13.0
    assert problems(record) == ["its checksum is another: it was changed after the run"]


def test_what_is_no_record_is_told(tmp_path):
    for content in ("{", "[]", '{"recipes": 3}'):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(ValueError, match=r"holds no record|cannot be sent in"):
            submit.submit(tmp_path / "a.json", tmp_path)


def test_submit_writes_the_file_and_the_text(whole, tmp_path, capsys, monkeypatch):
    stored = put(tmp_path, whole, "record.json")
    monkeypatch.setattr(submit, "FOLDER", tmp_path / "replications")
    __main__.main(["replicate", "--dataset", "pinterest", "--submit", "--folder", str(tmp_path)])
    told = capsys.readouterr().out
    (file,) = (tmp_path / "replications").iterdir()
    assert file.name == f"pinterest-{stored['checksum'][:8]}.json" and json.loads(file.read_text(encoding="utf-8")) == stored
    for words in ("3,226 users, 4,998 items, 9,844 interactions", "torch 2.9.0", "cuda: a card", "paper: 3 seeds", file.name):
        assert words in told


# ---- what is drawn


def test_the_pages_are_those_of_what_is_recorded(tmp_path):
    for path, made in zip(page.PAGES, page.write_pages(into=tmp_path), strict=True):
        assert made.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), "run: python -m amrbook replicate page"


def test_every_recorded_run_can_be():
    for dataset in page.DATA:
        for quick in (False, True):
            verdicts.recorded(dataset, is_quick=quick)


def test_without_a_record_a_table_says_once_what_to_run_and_has_the_papers_figures_alone(tmp_path):
    for part, dataset in (("pinterest", "pinterest"), ("pinterest effects", "pinterest"), ("women", "amazon-women"),
                          ("women effects", "amazon-women"), ("weights", "pinterest")):  # fmt: skip
        text = page.PARTS[part](tmp_path)
        assert text.count("not yet") == 1 and text.count(f"`python -m amrbook replicate --dataset {dataset}`") == 1, part
        assert "| ours |" not in text and "±" not in text and "| – |" not in text, part
    among = page.PARTS["among all"](tmp_path)
    assert among.lower().count("not yet recorded") == 1 and "±" not in among
    assert all(f"`python -m amrbook replicate --dataset {dataset}`" in among for dataset in page.DATA)


def test_a_row_that_a_record_does_not_fill_says_so(tmp_path):
    record = made_record(recipes=("authors",))  # whose script trains no Popularity
    put(tmp_path, record)
    text = page.PARTS["pinterest"](tmp_path)
    assert 'Where it says "not yet", ours is not yet recorded.' in text and "| Popularity | HR@10 | 0.0604 | not yet |" in text


@pytest.mark.parametrize("close", [True, False])
def test_a_record_dropped_into_the_folder_appears_with_its_verdict(tmp_path, close):
    record = put(tmp_path, made_record(close=close, weights=True))
    rows = {(row[0], row[1], row[6]): row for row in page.rows_of_table_2("pinterest", tmp_path)}
    run = record["checksum"][:8]
    row = rows["AMR", "HR@10", f"paper ({run})"]
    ours = np.array([record["recipes"]["paper"]["seeds"][s]["AMR"]["sampled"]["all"]["HR@10"] for s in "012"])
    assert row[2] == "0.2033" and row[3].startswith(f"{ours.mean():.4f} ± ") and row[5] == "3"
    assert row[4].startswith(f"{ours.mean() - 0.2033:+.4f} ± ")
    assert row[7] == ("met" if close else "not met: ours is higher") and row[8] == "same data"
    assert ("Popularity", "HR@10", f"authors ({run})") not in rows  # which the script does not train
    for path in page.write_pages(tmp_path, into=tmp_path / "out"):
        text = path.read_text(encoding="utf-8")
        assert path.name != "replication.md" or text.count(run) > 40
        assert path.name != "replication.md" or "| VBPR, continued |" in text
    assert "not yet recorded" not in page.weights(tmp_path) and run in page.runs(tmp_path)
    table = show(tmp_path)
    assert (table.loc[("pinterest", "AMR"), "the paper"] == "0.1230").all()
    assert table["ours"]["amazon-women", "AMR"] == "not yet recorded"
    run = "python -m amrbook replicate …"
    assert table[run]["amazon-women", "AMR"] == "--dataset amazon-women"
    assert run in table.to_html() and "--dataset amazon-women<" in table.to_html()  # not cut
    assert list(show(tmp_path / "nowhere").columns) == ["the paper", "ours", "data", run]


def test_a_quick_run_fills_no_row(tmp_path):
    put(tmp_path, made_record(quick=True, recipes=("authors",)))
    assert all(row[3] == page.NOT_YET for row in page.rows_of_table_2("pinterest", tmp_path))
    assert "a quick try" in page.runs(tmp_path)


def test_a_relative_difference_is_judged_by_the_ledgers_rule(tmp_path):
    put(tmp_path, made_record())
    lines = [line for line in page.effects("pinterest", tmp_path).splitlines() if line.startswith("| VBPR, noise of ε = 0.1 ")]
    assert len(lines) == 2 and all("-11.9 %" in line and "-10.0" in line and "| reproduced |" in line for line in lines)
    assert f"| {ATTACKED}, over AMR |" in page.effects("pinterest", tmp_path)


def test_the_verdicts():
    close, far = np.array([0.10, 0.11, 0.12]), np.array([0.20, 0.21, 0.22])
    assert verdicts.judged(close, 0.113) == "met" and verdicts.judged(close, 0.113, far) == "met"
    assert verdicts.judged(far, 0.113, close) == "met at the best epoch on test"
    assert verdicts.judged(far, 0.05, close) == "not met: ours is higher"
    assert verdicts.judged(close, 0.3) == "not met: ours is lower"
    assert verdicts.judged(close[:1], 0.1) == "one seed, no verdict"
    same = np.full(3, 0.02960)  # Popularity has no luck: the rounding of the paper's last digit alone
    assert verdicts.judged(same + 0.00004, 0.0296) == "met" and verdicts.judged(same + 0.0001, 0.0296) != "met"


# ---- what stands beside the runs


def toy(seed=0):
    rng = np.random.default_rng(seed)
    train = np.stack([rng.integers(0, 40, 200), rng.integers(0, 40, 200)], 1)
    test = np.where(rng.random(40) < 0.5, rng.integers(40, 60, 40), -1)  # cold ones
    return Dataset(train, test, rng.random((60, 5), dtype=np.float32), n_users=40, n_items=60, name="boutique")


def test_warm_rivals_are_warm_and_untouched():
    shop = toy()
    rivals = warm_candidates(shop, 15, seed=0)
    assert rivals.shape == (40, 15) and not shop.cold[rivals].any()
    for user in range(40):
        assert len(set(rivals[user])) == 15 and not set(rivals[user]) & {*shop.items_of(user), shop.test[user]}


def test_what_the_page_says_of_its_tables_is_so():
    """Its sentences about the boutique, held to the recorded numbers."""
    choices = json.loads((submit.FOLDER / "choices.json").read_text(encoding="utf-8"))["seeds"].values()

    def mean(model, *path):
        values = []
        for entry in choices:
            value = entry[model]
            for step in path:
                value = value[step]
            values.append(value)
        return np.mean(values)

    names = ("Popularity", "MF-BPR", "VBPR", "AMR")
    spread = {model: mean(model, "ties", "won") - mean(model, "ties", "lost") for model in names}
    assert spread.pop("Popularity") > 0.005 and max(spread.values()) < 0.001  # it matters where many scores are equal
    for model in ("MF-BPR", "MF-eALS", "VBPR", "AMR", "Popularity"):  # who knows items by their history
        assert mean(model, "warm rivals") < mean(model, "ties", "lost") - 0.003, model
    tried = trials("AMR")
    clean, attacked = (max(tried, key=lambda t: t[by])["epsilon"] for by in ("ndcg@10", "attacked ndcg@10"))
    assert clean != attacked  # clean accuracy and accuracy under attack choose different ones
    main = load_results("main")
    clean, attack, train, certain = (
        over_seeds(main, "VBPR", *path).mean() for path in (("full", "NDCG@10"), *(
            ("ε=0.1‖c‖", kind, "NDCG@10") for kind in ("test", "train", "certified"))))  # fmt: skip
    assert certain < attack < 0.8 * clean and abs(train / clean - 1) < 0.05  # little without the loss that was attacked


def test_choices_go_on_where_they_stopped(tmp_path):
    how = dict(shop=toy(), epochs=2, dim=4, rivals=15)
    first = json.loads(record_choices(1, tmp_path, **how).read_text(encoding="utf-8"))
    more = json.loads(record_choices(2, tmp_path, **how).read_text(encoding="utf-8"))
    assert more["seeds"]["0"] == first["seeds"]["0"] and list(more["seeds"]) == ["0", "1"]
    for entry in more["seeds"]["1"].values():
        assert entry["ties"]["lost"] <= entry["ties"]["shared"] <= entry["ties"]["won"]
    for part in ("choice ties", "choice rivals"):
        assert "±" in page.PARTS[part](tmp_path) and "not yet recorded" in page.PARTS[part](tmp_path / "nowhere")


def test_the_speed_is_a_ratio_within_a_turn():
    rates = {name: [2000.0, 1000.0] for name in side.OURS} | {name: [100.0, 10.0] for name in side.NAIVE}
    found = side.summary(rates, 60_000)
    assert found == {"ours minutes": 1.5, "naive minutes": 110.0, "ratio": 60.0, "least": 20.0, "most": 100.0}
    assert math.isclose(found["naive minutes"], np.median([20, 200]))


def test_a_recorded_speed_takes_the_place_of_the_benchs(tmp_path):
    bench = side.speed_of_bench()["threads"]
    assert list(bench) == ["1"] and bench["1"]["naive minutes"] > 5 * bench["1"]["ours minutes"]
    assert "Two threads: not yet recorded" in page.speed(tmp_path)
    run = {"ours minutes": 3.0, "naive minutes": 60.0, "ratio": 20.0, "least": 19.0, "most": 21.0}
    record = {"rounds": 5, "seconds": 1.5, "machine": "a machine", "threads": {"1": run, "2": run}}
    (tmp_path / "speed.json").write_text(json.dumps(record))
    assert "| threads: 2 | 3.0 | 60 | ×20.0 (19.0–21.0) |" in page.speed(tmp_path) and "not yet" not in page.speed(tmp_path)


def test_weights_that_are_not_there_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pos\.txt is not there"):
        side.record_weights(tmp_path, tmp_path)
