"""What `bench run` takes beside a settings file: own models, training settings, a tuning budget for every model."""

import re

import msgspec
import pytest
from world import SETTINGS, bench, finished, make

from clicksmith.bench.results import read_results
from clicksmith.bench.row import read_row
from clicksmith.bench.settings import BenchSettings, ModelSettings, contestants, settings_for
from clicksmith.bench.tuned import search
from clicksmith.cli.main import main
from clicksmith.encode.store import Store
from clicksmith.errors import SchemaError, UnknownNameError, UsageError
from clicksmith.models.spec import ModelSpec

OWN = """
from clicksmith.embed.embedder import Embed
from clicksmith.embed.shape import Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.models.spec import ModelSpec
from torch import nn

class PlainSum(Block, frozen=True):
    scale: float = 1.0
    def out(self, shape):
        return HiddenShape(shape.dim)
    def build(self, shape):
        return Summed(self.scale)

class Summed(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
    def forward(self, fields):
        return Hidden(self.scale * fields.vectors.sum(1), None)

def summed(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(interact=PlainSum(), embed=Embed(dim=dim))

def doubled(*, dim: int = 4) -> ModelSpec:
    return ModelSpec(interact=PlainSum(scale=2.0), embed=Embed(dim=dim))
"""


def test_models_of_a_file_enter_like_backbones(tmp_path, capsys):
    make(tmp_path)
    own = tmp_path / "my_models.py"
    own.write_text(OWN)
    argv = ["bench", "run", f"{tmp_path}/shop.toml", "--settings", f"{tmp_path}/settings.toml", "--seeds", "1"]
    argv += ["--results", f"{tmp_path}/results", "--cache", f"{tmp_path}/cache", "--jobs", "1"]
    assert main([*argv, "--models", str(own), "summed", "LR"]) == 0
    rows = read_results(tmp_path / "results").models("shop")
    assert sorted(rows) == ["LR", "summed"]
    assert rows["summed"][0].configuration.spec["interact"] == {"kind": "plain_sum", "scale": 1.0}
    assert rows["summed"][0].made_by.code != rows["LR"][0].made_by.code  # the file is part of the code
    verify = ["bench", "verify", f"{tmp_path}/results", "--row", "shop/summed/0", "--data", f"{tmp_path}/shop.toml"]
    assert main([*verify, "--cache", f"{tmp_path}/cache", "--models", str(own)]) == 0
    assert "every stored logit the same" in capsys.readouterr().out
    assert [one.title for one in contestants(settings_for("shop"), [str(own)])] == ["doubled", "summed"]
    with pytest.raises(UnknownNameError, match=r"no model named 'sumed'. Did you mean 'summed'\?"):
        contestants(settings_for("shop"), [str(own), "sumed"])
    with pytest.raises(UsageError, match="there is no file"):
        contestants(settings_for("shop"), ["none.py"])


def test_training_settings_of_the_command_line_win_over_those_of_the_file(tmp_path, capsys):
    make(tmp_path)
    argv = ["bench", "run", f"{tmp_path}/shop.toml", "--settings", f"{tmp_path}/settings.toml", "--seeds", "1"]
    argv += ["--models", "LR", "--cache", f"{tmp_path}/cache", "--results"]
    lazy = ["--train.table-update", "lazy", "--train.epochs=1", "--train.table-l2", "0"]
    assert main([*argv, f"{tmp_path}/lazy", *lazy]) == 0
    settings = read_row(tmp_path / "lazy" / "shop" / "LR" / "0.json").configuration.settings
    assert (settings["table_update"], settings["epochs"], settings["table_l2"]) == ("lazy", 1, 0.0)
    assert (settings["batch_size"], settings["learning_rate"]) == (128, 1e-2)
    assert main([*argv, f"{tmp_path}/lazy"]) == 2
    assert "epochs is 1, asked 2" in capsys.readouterr().err
    assert main([*argv, f"{tmp_path}/other", "--train.epoch", "1"]) == 2
    assert "no option named '--train.epoch'. Did you mean '--train.epochs'?" in capsys.readouterr().err
    assert main([*argv, f"{tmp_path}/other", "--train.seed", "1"]) == 2  # seeds are those of the benchmark
    assert main([*argv, f"{tmp_path}/other", "--train.epochs", "0"]) == 2
    assert "epochs is 0; it must be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


SMALL = SETTINGS + "\n[models.Trees]\nname = 'LightGBM'\noptions = { rounds = 10, few = 10, every = 5 }\n"


def test_every_model_gets_the_same_trials_and_its_rows_say_what_was_found(tmp_path):
    pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    make(tmp_path)
    (tmp_path / "settings.toml").write_text(SMALL)
    said: list[str] = []
    report = bench(tmp_path, models=["FM", "Trees"], seeds=1, tune=3, said=said)
    assert (report.finished, report.failed) == (2, [])
    rows = {name: rows[0] for name, rows in read_results(tmp_path / "results").models("shop").items()}
    for row in rows.values():
        assert row.searched.trials == 3 and row.done.test_evaluations == 1
        assert len(row.searched.scores) == len(row.searched.seeds) == 2 and row.searched.seconds > 0
        assert set(row.searched.values) == set(row.searched.space)
        # given: dim, epochs, batch_size, learning_rate; not given: the L2 of a torch model
        assert "train.epochs" not in row.searched.space and "train.learning_rate" not in row.searched.space
    assert (rows["FM"].searched.pruner, rows["Trees"].searched.pruner) == ("asha", "none")
    assert set(rows["FM"].searched.space) == {"train.table_l2", "train.dense_l2"}
    assert rows["FM"].configuration.settings["table_l2"] == rows["FM"].searched.values["train.table_l2"]
    assert rows["FM"].configuration.settings["seed"] == 0 and rows["FM"].configuration.settings["epochs"] == 2
    assert rows["Trees"].configuration.spec["leaves"] == rows["Trees"].searched.values["model.leaves"]
    assert rows["Trees"].configuration.spec["rounds"] == 10
    again = bench(tmp_path, models=["FM", "Trees"], seeds=1, tune=3)
    assert (again.finished, again.skipped) == (0, 2)
    for other in (2, 4):
        with pytest.raises(UsageError, match=rf"has the best of 3 trials, and --tune {other} asks for another budget"):
            bench(tmp_path, models=["FM", "Trees"], seeds=1, tune=other)
    assert bench(tmp_path, models=["FM", "Trees"], seeds=1, tune=3).skipped == 2  # nothing was tried meanwhile
    with pytest.raises(UsageError, match="--tune 0: at least 1 is needed"):
        bench(tmp_path, tune=0)


def test_a_search_opens_train_and_valid_only_and_goes_on_where_it_was(tmp_path, monkeypatch):
    from clicksmith.bench.data import prepare

    make(tmp_path)
    data = prepare(str(tmp_path / "shop.toml"), None, None, tmp_path / "cache", lambda _: None)
    closed = dict(data.stores) | {"test": tmp_path / "nowhere"}
    data = type(data)(**{name: getattr(data, name) for name in data.__slots__} | {"stores": closed})
    forgets = BenchSettings({"lr": ModelSettings("lr", set={"embed.unseen_rate": 0.25})})
    (one,) = contestants(forgets, ["lr"], train={"epochs": 1, "batch_size": 128})
    said: list[str] = []
    found = search(one, data, tmp_path / "out", 2, jobs=1, say=said.append)
    assert found.settings.epochs == 1 and found.searched.trials == 2
    assert found.spec.embed.unseen_rate == 0.25  # what the settings give within the spec, every trial has
    assert sum(": complete" in text for text in said) == 4  # two, and both again with another seed
    said.clear()
    assert search(one, data, tmp_path / "out", 2, jobs=1, say=said.append).searched == found.searched
    assert not any(": complete" in text for text in said)
    more = search(one, data, tmp_path / "out", 3, jobs=1, say=said.append)
    assert sum(": complete" in text for text in said) == 3 and more.searched.trials == 3
    with pytest.raises(UsageError, match=r"holds a search of 3 trials, and --tune 2 asks for fewer"):
        search(one, data, tmp_path / "out", 2, jobs=1, say=said.append)
    (other,) = contestants(forgets, ["lr"], train={"epochs": 2, "batch_size": 128})
    with pytest.raises(UsageError, match=r"holds another search; it differs in settings \(epochs\)"):
        search(other, data, tmp_path / "out", 2, jobs=1, say=said.append)
    assert Store.open(data.stores["train"]).rows == 1500


FIRST = {0: (0.60, 0.80), 1: (0.61, 0.84), 2: (0.62, 0.82), 3: (0.63, 0.79)}
"""Scores of a trial's evaluations with the first seed, by the trial's place; all others have (.5, .5)."""
SECOND = {0: 0.80, 1: 0.70, 2: 0.79, 3: 0.99}


@pytest.fixture
def mocked(tmp_path, monkeypatch):
    """Return a search whose trials are not trained: (trials, second scores) to what was found, and who was trained."""
    from clicksmith.bench.data import prepare
    from clicksmith.tuning.search import Search
    from clicksmith.tuning.trial import Outcome

    make(tmp_path)
    data = prepare(str(tmp_path / "shop.toml"), None, None, tmp_path / "cache", lambda _: None)
    trained: dict[bytes, list[int]] = {}

    def found(trials, second, train=None):
        def outcome(search, asked):
            settings = asked.task.settings
            name = msgspec.json.encode([asked.task.spec, msgspec.structs.replace(settings, seed=0)])
            trained.setdefault(name, []).append(settings.seed)
            place = list(trained).index(name)
            scores = FIRST.get(place, (0.5, 0.5)) if settings.seed == 2026 else (second[place],)
            if scores[0] == "stopped":
                return None
            if scores[0] == "failed":
                return Outcome(state="failed", error="it diverged")
            if search.pruning(asked.trial)([scores[0]]):
                return Outcome(state="pruned", score=scores[0], scores=scores[:1], epochs=1, seconds=1.0)
            return Outcome(state="complete", score=max(scores), scores=scores, epochs=2, seconds=2.0)

        monkeypatch.setattr(Search, "_there", outcome)
        (one,) = contestants(BenchSettings({"lr": ModelSettings("lr")}), ["lr"], train={"epochs": 9, **(train or {})})
        return search(one, data, tmp_path / "out", trials, jobs=1, say=lambda _: None).searched

    return found, trained


def test_of_the_best_third_the_mean_of_two_seeds_decides(mocked):
    """The second trial has luck with its seed, and the fourth would with another: it is no longer in the run."""
    found, trained = mocked
    searched = found(9, SECOND)
    assert (searched.number, searched.scores, searched.seeds) == (2, (0.82, 0.79), (2026, 2027))
    assert [len(seeds) for seeds in trained.values()] == [2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert searched.seconds == 4 * 2 + 5 * 1 + 3 * 2  # five were given up
    assert found(9, SECOND) == searched and sum(map(len, trained.values())) == 12  # nothing was trained again


def test_a_finalist_that_fails_with_the_other_seed_is_not_chosen(mocked):
    found, _ = mocked
    assert found(9, SECOND | {2: "failed"}).number == 0
    with pytest.raises(UsageError, match=r"none of the 4 best trials in '.*' finished with another seed as well"):
        found(10, dict.fromkeys(range(4), "failed"))


def test_nothing_is_chosen_while_a_trial_has_not_ended(mocked):
    found, _ = mocked
    with pytest.raises(UsageError, match=r"trial 1 was interrupted or still runs in another process; give the same"):
        found(9, SECOND | {2: "stopped"})
    assert found(9, SECOND).number == 2


def test_a_small_space_is_gone_through_once(mocked):
    """Proposals that miss are drawn anew each time: a point that they find late must not change who is in the run."""
    found, trained = mocked
    small = {"learning_rate": 0.01, "table_l2": 0.0, "batch_size": 128}
    first = found(30, dict.fromkeys(range(99), 0.5), small)
    asked = sum(map(len, trained.values()))
    for _ in range(5):
        assert found(30, dict.fromkeys(range(99), 0.5), small) == first
    assert sum(map(len, trained.values())) == asked


def test_a_space_smaller_than_the_budget_is_searched_whole_and_may_be_asked_for_again(tmp_path):
    make(tmp_path)
    fixed = {"epochs": 1, "batch_size": 128, "learning_rate": 0.01, "table_l2": 0.0, "dense_l2": 0.0}
    settings = tmp_path / "fixed.toml"
    settings.write_text("[train]\n" + "".join(f"{k} = {v}\n" for k, v in fixed.items()) + '[models.LR]\nname = "lr"\n')
    for seeds in (1, 2):  # the second goes on with the search that the first has made
        done = bench(tmp_path, models=["LR"], seeds=seeds, tune=4, settings=settings)
        assert (done.finished, done.skipped, done.failed) == (1, seeds - 1, [])
    (rows,) = read_results(tmp_path / "results").models("shop").values()
    assert {row.searched.trials for row in rows} == {4} and rows[0].searched.space == {}


def test_a_data_set_whose_name_is_no_folder_is_refused(tmp_path):
    make(tmp_path)
    text = (tmp_path / "shop.toml").read_text()
    (tmp_path / "shop.toml").write_text(text.replace('name = "shop"', 'name = "shop/2024"', 1))
    with pytest.raises(SchemaError, match=r"the data set is named 'shop/2024'; its name becomes a folder of results"):
        bench(tmp_path, models=["LR"], seeds=1)


def test_rows_of_given_settings_are_sealed_as_before():
    row = read_row(finished() / "results" / "shop" / "LR" / "0.json")
    assert row.searched is msgspec.UNSET
    assert "searched" not in msgspec.to_builtins(row)


def test_a_setting_reaches_any_value_within_the_spec():
    settings = BenchSettings(
        {"FM": ModelSettings("fm"), "forgets": ModelSettings("fm", set={"embed.unseen_rate": 0.25})}
    )
    plain, forgets = contestants(settings, ["all"])
    assert isinstance(plain.spec, ModelSpec)
    assert isinstance(forgets.spec, ModelSpec)
    assert (plain.spec.embed.unseen_rate, forgets.spec.embed.unseen_rate) == (0.0, 0.25)
    for path, value, told in (
        ("embed.unseen_rate", 1.5, "set embed.unseen_rate: unseen_rate is 1.5; it must be at least 0 and below 1"),
        ("embed.tabel.std", 0.1, "set embed.tabel: no option named 'tabel'. Did you mean 'table'"),
    ):
        with pytest.raises(UsageError, match=f"settings of forgets: {re.escape(told)}"):
            contestants(BenchSettings({"forgets": ModelSettings("fm", set={path: value})}), ["all"])
