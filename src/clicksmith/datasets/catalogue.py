"""The table of published data sets."""

from __future__ import annotations

from dataclasses import replace

from clicksmith.datasets import prepare as made
from clicksmith.datasets import published as p
from clicksmith.datasets.dataset import SplitChoice
from clicksmith.datasets.spec import DataFile, DatasetSpec, bars_url
from clicksmith.schema import Bag, Categorical, Label, Numeric, Schema, Time
from clicksmith.schema.columns import Behaviour, Side

_TEST_AS_VALID = ("As in BARS, the test file is also the validation set: figures are selected on test rows.",)
_SKLEARN = ("The official split is that of scikit-learn 0.19.1; it is in the files, nothing is drawn here.",)


def _files(*parts: tuple[str, str, int | None]) -> tuple[DataFile, ...]:
    return tuple(DataFile(part, f"{part}.csv", (md5,), rows) for part, md5, rows in parts)


def _split(how: str, seed: int, train: str, valid: str, test: str) -> SplitChoice:
    """Return a split 8:1:1 of ours with the SHA-256 of its row numbers."""
    return SplitChoice(how, seed, checksums={"train": train, "valid": valid, "test": test})


def _temporal(spec: DatasetSpec, schema: Schema, split: SplitChoice, *notes: str) -> DatasetSpec:
    """Return the variant of a data set whose validation rows are later than training's, and test rows later still."""
    name = f"{spec.name}_temporal"
    about = f"{spec.about.replace('by chance', 'by time')} A variant of {spec.name} without published figures."
    return replace(spec, name=name, schema={name: schema}, split=split, about=about, notes=notes)


def _movielens_1m() -> Schema:
    """Seven fields, as in AutoInt's section 5.1: no ids."""
    names = ("gender", "age", "occupation", "zip")
    fields = (
        *(Categorical(name, role="user") for name in names),
        Categorical("year", role="item"),
        Numeric("timestamp", scale="raw"),
        Bag("genres", role="item", max_length=6),
    )
    return Schema(fields=fields, label=Label("label"))


def _movielens_1m_temporal() -> Schema:
    """Without the time as an input: where test rows are later, it has values that training never met."""
    schema = _movielens_1m()
    fields = tuple(field for field in schema.fields if field.name != "timestamp")
    return Schema(fields=fields, label=schema.label, time=Time("time"))


def _movielens_100k() -> Schema:
    fields = (
        *(Categorical(name, role="user") for name in ("user_id", "age", "gender", "occupation", "zip_code")),
        *(Categorical(name, role="item") for name in ("item_id", "release_year")),
        Bag("genres", role="item", separator=" ", max_length=6),
    )
    return Schema(fields=fields, label=Label("label"), group="user_id", time=Time("timestamp"))


def _next_item() -> Schema:
    history = Behaviour("item_history", of="item_id", sides=(Side("cate_history", of="cate_id"),), max_length=50)
    fields = (Categorical("item_id", role="item"), Categorical("cate_id", role="item"))
    return Schema(fields=fields, behaviours=(history,), label=Label("label"), group="user_id")


_CRITEO_X4 = _files(
    ("train", "4a53bb7cbc0e4ee25f9d6a73ed824b1a", 36_672_493),
    ("valid", "fba5428b22895016e790e2dec623cb56", 4_584_062),
    ("test", "cfc37da0d75c4d2d8778e76997df2976", 4_584_062),
)
_AVAZU_X4 = _files(
    ("train", "de3a27264cdabf66adf09df82328ccaa", 32_343_172),
    ("valid", "33232931d84d6452d3f956e936cab2c9", 4_042_897),
    ("test", "3ebb774a9ca74d05919b84a3d402986d", 4_042_898),
)
_FRAPPE_LATER = _files(
    ("valid", "88d51bf2173505436d3a8f78f2a59da8", 57_722),
    ("test", "3470f6d32713dc5f7715f198ca7c612a", 28_860),
)

_BARS = (
    DatasetSpec(
        name="frappe_x1",
        id="Frappe_x1",
        files=(*_files(("train", "ba7306e6c4fc19dd2cd84f2f0596d158", 202_027)), *_FRAPPE_LATER),
        schema={"frappe_x1": p.frappe()},
        about="Frappe_x1 of BARS: app usage in context, two sampled negatives per use, 7:2:1.",
        url=bars_url("Frappe_x1"),
    ),
    DatasetSpec(
        name="criteo_x1",
        id="Criteo_x1",
        files=_files(
            ("train", "30b89c1c7213013b92df52ec44f52dc5", 33_003_326),
            ("valid", "f73c71fb3c4f66b6ebdfa032646bea72", 8_250_124),
            ("test", "2c48b26e84c04a69b948082edae46f8c", 4_587_167),
        ),
        schema={"criteo_x1": p.criteo_x1()},
        about="Criteo_x1 of BARS: AFN's numbers and codes, 72:18:10.",
        url=bars_url("Criteo_x1"),
    ),
    DatasetSpec(
        name="criteo_x4",
        id="Criteo_x4",
        files=_CRITEO_X4,
        schema={"criteo_x4_001": p.criteo_x4(10), "criteo_x4_002": p.criteo_x4(2)},
        about="Criteo_x4 of BARS: AutoInt's stratified 8:1:1; numbers in steps of the squared natural logarithm.",
        notes=_SKLEARN,
        url=bars_url("Criteo_x4"),
    ),
    DatasetSpec(
        name="avazu_x1",
        id="Avazu_x1",
        files=_files(
            ("train", "f1114a07aea9e996842c71648e0f6395", 28_300_276),
            ("valid", "d9568f246357d156c4b8030fadb8b623", 4_042_897),
            ("test", "9e2fe9c48705c9315ae7a0953eb57acf", 8_085_794),
        ),
        schema={"avazu_x1": p.avazu_x1()},
        about="Avazu_x1 of BARS: 22 codes of AFN, 7:1:2.",
        url=bars_url("Avazu_x1"),
    ),
    DatasetSpec(
        name="avazu_x4",
        id="Avazu_x4",
        files=_AVAZU_X4,
        schema={"avazu_x4_001": p.avazu_x4(2), "avazu_x4_002": p.avazu_x4(1)},
        about="Avazu_x4 of BARS: AutoInt's stratified 8:1:1; the hour cut into hour, weekday and weekend.",
        notes=_SKLEARN,
        url=bars_url("Avazu_x4"),
        prepare=made.avazu,
        big=True,
    ),
    DatasetSpec(
        name="kkbox_x1",
        id="KKBox_x1",
        files=_files(
            ("train", "195b1ae8fc2d9267d7c8656c07ea1304", 5_901_932),
            ("valid", "398e97ac139611a09bd61a58e4240a3e", 737_743),
            ("test", "8c5f7add05a6f5258b6b3bcc00ba640b", 737_743),
        ),
        schema={"kkbox_x1": p.kkbox_x1()},
        about="KKBox_x1 of BARS: is a song heard again within a month, 8:1:1.",
        notes=("The separator of genres and artists is taken to be '|'; it was not checked against the files.",),
        url=bars_url("KKBox_x1"),
        prepare=made.kkbox,
        big=True,
    ),
    DatasetSpec(
        name="movielenslatest_x1",
        id="MovielensLatest_x1",
        files=_files(
            ("train", "efc8bceeaa0e895d566470fc99f3f271", 1_404_801),
            ("valid", "e1930223a5026e910ed5a48687de8af1", 401_372),
            ("test", "54e8c6baff2e059fe067fb9b69e692d0", 200_686),
        ),
        schema={"movielenslatest_x1": p.movielenslatest_x1()},
        about="MovielensLatest_x1 of BARS: tags given to movies, 7:2:1.",
        url=bars_url("MovielensLatest_x1"),
    ),
    DatasetSpec(
        name="taobaoad_x1",
        id="TaobaoAd_x1",
        files=_files(
            ("train", "eaabfc8629f23519b04593e26c7522fc", 21_929_911),
            ("test", "f5ae6197e52385496d46e2867c1c8da1", 3_099_515),
        ),
        schema={"taobaoad_x1": p.taobaoad_x1()},
        about="TaobaoAd_x1 of BARS: display ads with behaviour histories, days 1 to 7 and day 8.",
        notes=_TEST_AS_VALID,
        url=bars_url("TaobaoAd_x1"),
        test_as_valid=True,
    ),
    DatasetSpec(
        name="amazonelectronics_x1",
        id="AmazonElectronics_x1",
        files=_files(
            ("train", "e9bf80b92985e463db18fdc753d347b5", 2_608_764),
            ("test", "57a20e82fe736dd495f2eaf0669bf6d0", 384_806),
        ),
        schema={"amazonelectronics_x1": p.amazonelectronics_x1()},
        about="AmazonElectronics_x1 of BARS: DIN's next-item data, one sampled negative per positive.",
        notes=_TEST_AS_VALID,
        url=bars_url("AmazonElectronics_x1"),
        test_as_valid=True,
    ),
    DatasetSpec(
        name="kuaivideo_x1",
        id="KuaiVideo_x1",
        files=_files(
            ("train", "16f13734411532cc313caf2180bfcd56", 10_931_092),
            ("test", "ba26c01caaf6c65c272af11aa451fc7a", 2_730_291),
        ),
        schema={"kuaivideo_x1": p.kuaivideo_x1()},
        about="KuaiVideo_x1 of BARS: short videos, with the first 100 clicked and unclicked ones of the user.",
        notes=(*_TEST_AS_VALID, "The visual vectors of the items (an HDF5 file) are not used."),
        url=bars_url("KuaiVideo_x1"),
        test_as_valid=True,
    ),
    DatasetSpec(
        name="microvideo1.7m_x1",
        id="MicroVideo1.7M_x1",
        files=_files(
            ("train", "936e6612714c887e76226a60829b4e0a", 8_970_309),
            ("test", "9417a18304fb62411ac27c26c5e0de56", 3_767_308),
        ),
        schema={"microvideo1.7m_x1": p.microvideo_x1()},
        about="MicroVideo1.7M_x1 of BARS: micro-videos; every item of the test file is new.",
        notes=(*_TEST_AS_VALID, "The cover-image vectors that BARS starts the item table from are not used."),
        url=bars_url("MicroVideo1.7M_x1"),
        test_as_valid=True,
    ),
    DatasetSpec(
        name="microlens_1m_x1",
        id="MicroLens_1M_x1",
        files=(
            DataFile("train", "train.parquet", (), 3_600_000),
            DataFile("valid", "valid.parquet", (), 10_000),
            DataFile("test", "test.parquet", (), 379_142, needed=False),
            DataFile("items", "item_info.parquet"),
        ),
        schema={"microlens_1m_x1": p.microlens_1m_x1()},
        about="MicroLens_1M_x1 of the MMCTR challenge at WWW 2025. The labels of the test file were never published.",
        notes=("No checksum is published.",),
        manual="Get it from the page of the MMCTR challenge (recsys group of Westlake University).",
    ),
)

_MOVIELENS_1M = DatasetSpec(
    name="movielens_1m",
    id="ml-1m",
    files=(
        DataFile("ratings", "ratings.dat", ("a89aa3591bc97d6d4e0c89459ff39362",), 1_000_209),
        DataFile("users", "users.dat", (), 6_040),
        DataFile("movies", "movies.dat", (), 3_883),
    ),
    schema={"autoint": _movielens_1m()},
    about="MovieLens-1M under AutoInt's protocol: above 3 or below 3 (3 left out), no ids, 8:1:1 by chance.",
    notes=("As in AutoInt, the timestamp is scaled to 0..1 over all rows. The split is ours, not scikit-learn's.",),
    folders=("movielens_1m",),
    url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
    prepare=made.movielens_1m,
    split=_split(
        "random",
        2019,
        "ecdc31b0af7c4a541261909b741d26f0a9b729b55664c24af736077740fbf87c",
        "3e282b655118b6d60a6ddddcc9aa6df093e8abd026c56a058f8f1f0a4bb02e15",
        "9c2b589d885712eeefc193a5d635e197dacbe09ddd3d96e3326a9b0a7bab804a",
    ),
)
_MOVIELENS_100K = DatasetSpec(
    name="movielens_100k",
    id="ml-100k",
    files=(
        DataFile("inter", "ml-100k.inter", ("a8a8c3f165aedc53f63b5dc0a0463b14",), 100_000),
        DataFile("item", "ml-100k.item", (), 1_682),
        DataFile("user", "ml-100k.user", (), 943),
    ),
    schema={"movielens_100k": _movielens_100k()},
    about="MovieLens-100k in RecBole's files: liked (above 3) or not (below 3), 3 left out, 8:1:1 by chance.",
    folders=("movielens_100k",),
    manual="It comes with the Python package recbole (dataset_example/ml-100k).",
    prepare=made.movielens_100k,
    split=_split(
        "random",
        2019,
        "242a87c33ddcf3c4f12bc45142501f7161811ed3d4458fd787a9b31552568591",
        "ac0ba224578e6d18da64fad22f0c5df90d289be1c75664cac720a4e3967a20ec",
        "20399eca42a0812ebfe9fece47fe2ac85cf0d8272ed1e4f23a00523350591192",
    ),
)

_OTHERS = (
    DatasetSpec(
        name="frappe_x1_rebuilt",
        id="frappe_x1_rebuilt",
        files=(DataFile("train", "train.rebuilt.csv", ("05cc4390f4cebbb45bd65dc983e87093",), 202_027), *_FRAPPE_LATER),
        schema={"frappe_x1": p.frappe()},
        about="Frappe_x1, rebuilt train negatives: a stand-in for frappe_x1; valid and test are the official files.",
        notes=(
            "The train negatives were drawn anew by the official rule; name this data set when you report results.",
        ),
        folders=("frappe",),
        manual="It was rebuilt from the raw Frappe log and is not published; take frappe_x1 instead.",
    ),
    _MOVIELENS_1M,
    _temporal(
        _MOVIELENS_1M,
        _movielens_1m_temporal(),
        _split(
            "time",
            0,
            "4fbcc5481c8385f3ae0906a3d641cc53f718045cbea5b3178c8e16805d26cbb7",
            "ed620ef492bcd17a0cbdbea12c26c575a2bbebfb336a784fe1c6828f2bea5808",
            "a38272578ec5f0f261c362df749e7b1f62477d5252688b5760f435ddfc31996a",
        ),
        "The timestamp, an input in AutoInt's protocol, only splits: test rows have values that training never met.",
    ),
    _MOVIELENS_100K,
    _temporal(
        _MOVIELENS_100K,
        _movielens_100k(),
        _split(
            "time",
            0,
            "9138560e2aa8d9c57d2a84ad9254e04392fabf07554b5e67313dd0899d5e69dc",
            "ddde4e9cc6118e0905d4da212568921cf97147ab81f9a3326f984a269eadbc5b",
            "b91415a33136fbaac39a3f7dc66b3b69ca7502ffa67b9280872c193086be0d77",
        ),
    ),
    DatasetSpec(
        name="criteo_sample",
        id="criteo_kaggle_10k",
        files=(DataFile("train", "train_first10000.tsv", ("aaef2f35f1471180e15742bfb8415528",), 10_000),),
        schema={"criteo_sample": p.criteo_x4(2)},
        about="The first 10,000 rows of Kaggle's Criteo train.txt, 8:1:1 by chance: for trying out, not for claims.",
        manual="Take the first 10,000 lines of Criteo's train.txt.",
        prepare=made.criteo_sample,
        split=_split(
            "random",
            2018,
            "58ec549213344dce3481cbced0190b28713a30b87ae5569351c44527312051c2",
            "b8d9b89f4b01fcd4f82341514ae4f41a70ab6e0a726a6c848607e1ab2d32b174",
            "fd4eaba48c4e0e625bed6011bcb497f143f4c3203e72b2f28237f4661a427bd1",
        ),
    ),
    DatasetSpec(
        name="avazu_sample",
        id="avazu_kaggle_9k",
        files=(
            DataFile("train", "train.csv", ("25386732d33e499fe764da758d3a88fc",), 8_087),
            DataFile("valid", "dev.csv", ("df8868a71dfa1d05900a8514c9b7ea26",), 480),
            DataFile("test", "test.csv", ("caa237ee23dc7dad498d544693909b4a",), 432),
        ),
        schema={"avazu_sample": p.avazu_x4(2)},
        about="8,999 rows of Avazu's first hour: for trying out, not for claims.",
        manual="Cut it from Avazu's train.csv.",
        prepare=made.avazu_sample,
    ),
    DatasetSpec(
        name="taobao_ad_sample",
        id="taobao_ad_dmr_500",
        files=(DataFile("train", "alimama_sampled_train.csv", ("87d3b13ee49aebd0f041264c76729eeb",), 500),),
        schema={"taobao_ad_sample": p.taobaoad_x1(1)},
        about="500 rows of Taobao's display ads in DMR's 267-column layout: a check of formats.",
        notes=("The kind of behaviour of the candidate (btag) is not in these files; it is 1 in every row.",),
        manual="It is in PaddleRec's DMR example.",
        prepare=made.taobao_sample,
        split=_split(
            "random",
            0,
            "765273f016beb3428c242c41ede9c6e8f7c391c063f6a442ba1bd9f74b189c28",
            "a162a785ebd27a2cb854d7186a9d79ba8a629470b1bb5424d1ccad0637892d3e",
            "b8773e894fc07f510050fe993be22ba1220d0f7ee90e48cfcc0243de48c093e9",
        ),
    ),
    *(
        DatasetSpec(
            name=f"next_item_{name.split('_')[0].lower()}",
            id="sequences_s3rec",
            files=(DataFile("sequences", f"{name}.txt"), DataFile("attributes", f"{name}_item2attributes.json")),
            schema={"next_item": _next_item()},
            about=f"{name} sequences of S3Rec as DIN asks: is this the user's next item? One negative each.",
            notes=("Negatives are uniform draws of ours; the last item tests, the one before validates.",),
            manual="It is in the repository of S3Rec (CIKM 2020).",
            prepare=made.next_item,
        )
        for name in ("Beauty", "Sports_and_Outdoors", "Toys_and_Games", "Yelp", "LastFM")
    ),
)

DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in (*_BARS, *_OTHERS)}
"""Published data sets by name."""
