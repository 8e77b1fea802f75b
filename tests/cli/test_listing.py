"""`spaces`, `plugins`, `recipes`, `doctor`, `fetch`: what is installed, and what it adds up to."""

from __future__ import annotations

import json

import pytest

from omnibind.cli.root import BUILT_IN


def test_spaces_are_listed_with_their_plugin_and_licence(omnibind):
    ran = omnibind("spaces")
    assert ran.code == 0
    assert "toy-nc" in ran.out
    assert "CC-BY-NC-4.0" in ran.out
    assert "toybind" in ran.out


def test_one_space_is_described_in_full(omnibind):
    ran = omnibind("spaces", "toy-nc")
    assert "other-image" in ran.out
    assert "projector onto toy" in ran.out


def test_a_misspelt_space_ends_with_the_near_name_and_code_2(omnibind):
    ran = omnibind("spaces", "toy-cn")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert "Did you mean 'toy-nc'?" in ran.err


@pytest.mark.parametrize(
    "words",
    [("spaces",), ("spaces", "toy"), ("plugins",), ("recipes",), ("recipes", "show", "toys")],
)
def test_json_is_one_document(omnibind, words):
    ran = omnibind(*words, "--json")
    assert ran.code == 0
    json.loads(ran.out)


def test_a_recipe_counts_a_shared_network_once(omnibind):
    facts = json.loads(omnibind("recipes", "show", "toys", "--json").out)
    assert sorted(facts["encoders"]) == ["other-image", "toy-audio", "toy-image", "toy-text"]
    assert facts["params"] == 4000
    assert facts["bytes_at_bf16"] == 8000
    assert facts["flops_per_item"] == {"text": 2000, "image": 4000, "audio": 2000}


def test_a_recipe_forbids_what_one_of_its_licences_forbids(omnibind):
    facts = json.loads(omnibind("recipes", "show", "toys", "--json").out)
    assert facts["licence"] == "CC0-1.0 AND CC-BY-NC-4.0"
    assert facts["commercial_use"] is False


def test_a_recipe_is_shown_as_a_table(omnibind):
    ran = omnibind("recipes", "show", "toys")
    assert "4, each counted once" in ran.out
    assert "CC0-1.0 AND CC-BY-NC-4.0" in ran.out


def test_bench_build_counts_the_parameters_of_every_encoder(omnibind):
    found = json.loads(omnibind("bench", "build", "--json").out)["figures"]
    assert {one["encoder"] for one in found} >= {"toy-text", "toy-image", "toy-audio"}
    assert all(one["params"] > 0 for one in found)
    assert "as on its card" in omnibind("bench", "build").out


def test_projectors_that_spaces_ship_are_not_counted_as_heads(omnibind):
    assert json.loads(omnibind("recipes", "show", "toys", "--json").out)["projector_params"] is None


def test_doctor_names_versions_devices_and_weights_that_are_not_here(omnibind):
    ran = omnibind("doctor")
    assert ran.code == 0
    assert "torch " in ran.out
    assert "cpu: " in ran.out
    assert "text weights, image weights, audio weights" in ran.out
    assert "`omnibind fetch toys` gets" in ran.err


def test_doctor_speaks_json(omnibind):
    found = json.loads(omnibind("doctor", "--json").out)
    assert found["problems"] == []
    assert found["plugins"]["toybind"] == "1.0"
    here = {f["file"]["purpose"]: f["path"] for f in found["weights"]["toy-nc"]}
    assert here["projector"].endswith("toy-nc.safetensors")
    assert here["text weights"] is None
    assert found["not_whole"] == ["toys"]


def test_fetch_lists_what_it_could_not_get_and_ends_with_2(omnibind):
    ran = omnibind("fetch", "toys", "--json")
    assert ran.code == 2
    found = json.loads(ran.out)
    assert [f["path"] is not None for f in found].count(True) == 1
    assert "OMNIBIND_OFFLINE" in ran.err


def test_commands_of_plugins_are_found(omnibind):
    assert "greet" in omnibind("--help").out
    assert omnibind("greet", "ann").out == "hello ann\n"


def test_a_plugin_never_hides_a_built_in_command(omnibind):
    assert "hello" not in omnibind("doctor").out
    assert "'doctor' of the plugin 'toybind' is hidden" in omnibind("plugins").err


@pytest.mark.parametrize("words", [("nonsense",), ("spaces", "--nonsense"), ("embed",), ()])
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(omnibind, words):
    ran = omnibind(*words)
    assert (ran.code, ran.out) == (2, "")
    assert "Usage: omnibind" in ran.err


def test_the_version_is_printed(omnibind):
    assert omnibind("--version").out.startswith("omnibind 0.")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_command_tells_how_it_is_used(omnibind, name):
    told = omnibind(name, "--help")
    assert told.code == 0
    assert "Usage:" in told.out
