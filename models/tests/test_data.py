"""Logs: order, split, permutation, and the readers of each layout."""

import os
from pathlib import Path

import numpy as np
import polars
import pytest
from small_logs import small_log

from belfry_models.data import MissingData, kuairand, movielens, read_log, recsys, taobao
from belfry_models.data.log import log_from_frames, sort_by_time
from belfry_models.data.synthetic import Generator
from belfry_models.features import plan_features
from belfry_models.metrics import auc
from belfry_models.settings import Settings
from belfry_models.stream import Stream

SHARED = Path(os.environ.get("BELFRY_SHARED_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))


def test_split_is_by_time_and_keeps_a_second_together():
    log = small_log()
    split = log.split()
    assert (split.train.start, split.test.stop) == (0, len(log))
    assert split.train.stop == split.validation.start and split.validation.stop == split.test.start
    assert log.time[split.train.stop - 1] < log.time[split.validation.start]
    assert log.time[split.validation.stop - 1] < log.time[split.test.start]
    assert abs(len(split.test) / len(log) - 0.2) < 0.01
    assert split.fit == range(0, split.test.start)


def test_a_log_out_of_order_is_refused():
    log = small_log()
    with pytest.raises(ValueError, match="time order"):
        type(log)("x", log.users, log.items, log.user, log.item, log.time[::-1], log.label)


def test_rows_of_one_instant_keep_their_order():
    time, rows = sort_by_time(np.array([2, 1, 2, 1]), np.array([0, 1, 2, 3]))
    assert time.tolist() == [1, 1, 2, 2] and rows.tolist() == [1, 3, 0, 2]


def test_labels_are_permuted_over_the_whole_log():
    log = small_log()
    shuffled = log.with_shuffled_labels(1)
    assert shuffled.label.sum() == log.label.sum()
    # Over the whole log, hence rows change sides of the split.
    start = log.split().test.start
    assert shuffled.label[start:].sum() != log.label[start:].sum()
    assert np.array_equal(shuffled.user, log.user) and shuffled.truth is None


def test_generator_is_its_seed_and_knows_the_truth():
    one, same, other = small_log(), Generator(users=60, items=80, events=6000, days=6.0, click_rate=0.2, seed=3).generate(), \
        small_log(seed=4)
    assert np.array_equal(one.label, same.label) and one.items.equals(same.items) and one.users.equals(same.users)
    assert not np.array_equal(one.item, other.item)
    assert one.truth.mean() == pytest.approx(0.2, abs=1e-6)
    assert auc(one.label, one.truth) > 0.7
    assert f"{auc(one.label, one.truth):.4f}" in one.description


def test_reported_logs_have_the_click_rate_that_is_promised():
    log = read_log("synthetic")
    assert len(log) == 200_000 and 0.05 < log.label.mean() < 0.10


def test_missing_movielens_names_its_files_and_origin(tmp_path):
    with pytest.raises(MissingData, match="ml-100k.inter.*recbole"):
        movielens.read(str(tmp_path), fetch=False)


def test_altered_movielens_is_refused(tmp_path):
    for name in movielens.FILES_SHA256:
        (tmp_path / name).write_text("user_id:token\n1\n")
    with pytest.raises(MissingData, match="sha256"):
        movielens.read(str(tmp_path))


def test_movielens():
    try:
        log = read_log("movielens-100k")
    except MissingData as missing:
        pytest.skip(f"MovieLens-100k can not be fetched here: {missing}")
    assert (len(log), log.users.height, log.items.height) == (100_000, 943, 1682)
    assert int(log.label.sum()) == 55_375  # ratings of 4 and 5
    assert log.items["title"][0] == "Toy Story" and log.items["genres"][0].to_list()[0] == "Animation"


@pytest.mark.parametrize("reader, names, origin", [
    (kuairand, ["log_standard_4_08_to_4_21_pure.csv", "user_features_pure.csv", "video_features_basic_pure.csv"],
     "kuairand.com"),
    (taobao, ["raw_sample.csv", "ad_feature.csv", "user_profile.csv"], "tianchi.aliyun.com"),
    (recsys, ["interactions.csv", "users.csv", "items.csv"], "recsyschallenge.com")])
def test_missing_files_are_named_with_where_they_come_from(reader, names, origin, tmp_path):
    with pytest.raises(MissingData) as caught:
        reader.read(str(tmp_path))
    for expected in (*names, origin, str(tmp_path)):
        assert expected in str(caught.value)


def test_only_the_missing_file_is_named(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "raw_sample.csv").write_text("user,time_stamp,adgroup_id,pid,nonclk,clk\n")
    with pytest.raises(MissingData) as caught:
        taobao.read(str(tmp_path))
    assert "missing ad_feature.csv, user_profile.csv." in str(caught.value)


def test_frames_become_rows_and_unknown_items_stay():
    users = polars.DataFrame({"id": [5, 3, 9], "age": [50, 30, 90]})
    items = polars.DataFrame({"id": [8], "color": ["red"]})
    events = polars.DataFrame({"user": [5, 3, 5], "item": [8, 7, 7], "time": [30, 10, 20], "label": [1, 0, 1]})
    log = log_from_frames("x", users, items, events)
    assert log.users["id"].to_list() == ["3", "5"] and log.users["age"].to_list() == [30, 50]
    assert log.items["id"].to_list() == ["7", "8"] and log.items["color"].to_list() == [None, "red"]
    assert log.user.tolist() == [0, 1, 1] and log.item.tolist() == [0, 0, 1] and log.label.tolist() == [0, 1, 1]


def test_taobao_layout(tmp_path):
    (tmp_path / "raw_sample.csv").write_text(
        "user,time_stamp,adgroup_id,pid,nonclk,clk\n581738,1494137644,1,430548_1007,1,0\n449818,1494638778,3,430548_1007,0,1\n")
    (tmp_path / "ad_feature.csv").write_text(
        "adgroup_id,cate_id,campaign_id,customer,brand,price\n1,6406,83237,1,95471,170.0\n3,6421,387991,6,NULL,88.0\n")
    (tmp_path / "user_profile.csv").write_text(
        "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,"
        "new_user_class_level \n449818,0,5,2,5,,3,0,3\n")
    log = read_log("taobaoad", str(tmp_path))
    assert log.label.tolist() == [0, 1] and log.items["brand"].to_list() == [95471, None]
    assert log.users["new_user_class_level"].to_list() == [3, None]
    assert log.context["hour"].tolist() == [14, 9]  # Beijing
    trains(log)


def test_recsys_layout(tmp_path):
    def write(name, prefix, columns, rows):
        header = "\t".join(f"{prefix}.{column}" for column in columns)
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n")

    prefix = "recsyschallenge_v2017_interactions_final_anonym_training_export"
    write("interactions.csv", prefix, recsys.COLUMNS["interactions"],
          ["20\t7\t1\t1480000100", "20\t8\t0\t1480000000", "21\t8\t4\t1480000200"])
    write("users.csv", "recsyschallenge_v2017_users_final_anonym_export_unique", recsys.COLUMNS["users"],
          ["20\t1,2\t3\t5\t16\tde\t7\t1\t2\t3\t0\t4\t0\t1", "21\t0\t3\t5\t16\tat\t7\t1\t2\t3\t0\t\t0\t0"])
    items = ("id", "title", "career_level", "discipline_id", "industry_id", "country", "is_payed", "region", "latitude",
             "longitude", "employment", "tags", "created_at")
    write("items.csv", "items", items, ["7\t11,12\t3\t5\t16\tde\t1\t2\t50.1\t8.6\t1\t9\t1479000000",
                                        "8\t\t3\t5\t16\tde\t0\t2\t\t\t1\t9,10\t1479000000"])
    log = read_log("recsys2017", str(tmp_path))
    assert log.label.tolist() == [0, 1, 0] and log.time.tolist() == [1480000000, 1480000100, 1480000200]
    assert log.users["jobroles"].to_list() == [["1", "2"], ["0"]]
    assert log.items["title"].to_list() == [["11", "12"], None]
    trains(log)


def test_a_log_without_a_column_names_it(tmp_path):
    for name in kuairand.LOGS:
        (tmp_path / name).write_text("user_id,video_id\n1,2\n")
    for name in ("user_features_pure.csv", "video_features_basic_pure.csv"):
        (tmp_path / name).write_text("x\n1\n")
    with pytest.raises(MissingData, match="no column hourmin, time_ms, tab, is_click"):
        kuairand.read(str(tmp_path))


@pytest.fixture
def shared_kuairand():
    folder = SHARED / "kuairand"
    if not (folder / "user_features_pure.parquet").is_file():
        pytest.skip(f"{folder} does not hold the official KuaiRand tables; set BELFRY_SHARED_DATA to the folder above it")
    return folder


def test_kuairand_feature_tables(shared_kuairand):
    paths = {"users": shared_kuairand / "user_features_pure.parquet",
             "videos": shared_kuairand / "video_features_basic_pure.parquet"}
    users, videos = kuairand.read_features(paths)
    assert (users.height, videos.height) == (27_285, 7_583)
    assert set(users["is_live_streamer"].drop_nulls().unique()) <= {0, 1}  # -124 is no value
    assert users["is_live_streamer"].null_count() > 0
    assert videos["tags"].dtype == polars.List(polars.String)
    # The sample comes from another release of the same people: these columns agree in all of its rows.
    sample = polars.read_csv(shared_kuairand / "kuairand_sample_200.csv").rename({"user_id": "id"})
    columns = ["follow_user_num", "fans_user_num", "friend_user_num", "register_days"]
    joined = sample.select("id", *columns).join(users.select("id", *columns), on="id", suffix="_table")
    assert joined.height == 200
    for column in columns:
        assert joined[column].to_list() == joined[f"{column}_table"].to_list()


def test_kuairand_official_layout_with_the_shared_sample(shared_kuairand, tmp_path):
    """The sample's events laid out as the official logs; the official features as CSV, as they are published."""
    polars.read_parquet(shared_kuairand / "user_features_pure.parquet").write_csv(tmp_path / "user_features_pure.csv")
    polars.read_parquet(shared_kuairand / "video_features_basic_pure.parquet").write_csv(
        tmp_path / "video_features_basic_pure.csv")
    events = polars.read_parquet(shared_kuairand / "interactions_27k_explicit_kcore15.parquet").with_columns(
        polars.lit(1).alias("tab"))
    (tmp_path / "data").mkdir()
    for name, part in zip(kuairand.LOGS, (events[:30_000], events[30_000:])):
        part.write_csv(tmp_path / "data" / name)
    log = kuairand.read(str(tmp_path))
    assert (len(log), log.users.height, log.items.height) == (41_828, 664, 9_359)
    assert int(log.label.sum()) == int(events["is_click"].sum())
    assert log.users["user_active_degree"].null_count() == 0
    assert log.items["author_id"].is_not_null().sum() == 113  # videos of the sample that the basic table has
    assert np.all(np.diff(log.time) >= 0)
    trains(log.head(640))


def trains(log):
    """The plan of the data set's features holds, and a model takes a step on them."""
    plan = plan_features(log, 5)
    assert {feature.source for feature in plan.user} >= {"user_id", "user"}
    stream = Stream(log, "cs3+history", Settings(hidden=(16,), dimension=8), seed=1)
    stream.learn(range(0, len(log)))
