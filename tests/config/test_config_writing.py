"""Profiles, generated files, and the page that is made from the same reference."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mipro_walk.config import PROFILES, get_profile, load_config, parse_config, render_config, write_config
from mipro_walk.config.reference import profile_files, with_reference
from mipro_walk.config.sections import SECTIONS
from mipro_walk.core.algorithms import plan_for
from mipro_walk.errors import ConfigError, PrerequisiteError
from mipro_walk.types import Example, Task

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PROFILES)
def test_a_written_profile_loads_as_the_same_configuration(tmp_path: Path, name: str) -> None:
    path = tmp_path / "c.toml"
    config = write_config(path, name)
    assert load_config(path, environ={}) == config
    assert config.config_hash == load_config(path, environ={}).config_hash
    assert config.ignored == ()


@pytest.mark.parametrize("name", PROFILES)
def test_every_key_of_a_written_file_has_its_explanation_above_it(tmp_path: Path, name: str) -> None:
    lines = profile_files()[f"{name}.toml"].splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line


def test_the_files_in_configs_are_up_to_date() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in (PROJECT / "configs").glob("*.toml")}
    assert files == profile_files()


def test_the_page_about_configuration_is_up_to_date() -> None:
    page = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == with_reference(page)
    for section in SECTIONS.values():
        assert all(f"| `{key}` |" in page for key in section.model_fields)


@pytest.mark.parametrize(("name", "count"), [("configuration.md", 2), ("models.md", 3)])
def test_every_block_of_the_pages_loads(name: str, count: int) -> None:
    page = (PROJECT / "docs" / name).read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in page.split("```toml\n")[1:]]
    assert len(blocks) == count
    for block in blocks:
        parse_config(tomllib.loads(block), origin="page", environ={})


def test_every_key_has_an_explanation() -> None:
    for section in SECTIONS.values():
        assert all(info.description for info in section.model_fields.values())


def test_the_profiles_hold_the_promised_values() -> None:
    configs = {name: parse_config(p.document, origin=name, environ={}) for name, p in PROFILES.items()}
    walkthrough = configs["walkthrough"].settings
    assert (walkthrough.num_iterations, walkthrough.top_k, walkthrough.num_bootstrap_seeds) == (10, 2, 3)
    assert (walkthrough.num_instructions_per_module, walkthrough.num_demos) == (4, 2)
    assert (walkthrough.budget, walkthrough.max_time_seconds, walkthrough.target_score) == (100, 1800, 0.95)
    quick = configs["quick-local"]
    assert quick.env_config == {"num_intents": 10}
    assert [len(p.seeds or ()) for p in (quick.pools.train, quick.pools.val, quick.pools.test)] == [70, 40, 130]
    assert PROFILES["quick-local"].needs_key is None
    production = configs["production"].settings
    assert (production.num_iterations, production.num_bootstrap_seeds, production.budget) == (50, 10, 1000)


@pytest.mark.parametrize("name", ["walkthrough", "groq", "production"])
def test_hosted_files_have_what_the_published_client_insists_on(name: str) -> None:
    section = tomllib.loads((PROJECT / "configs" / f"{name}.toml").read_text(encoding="utf-8"))["prompt_learning"]
    assert section["policy"]["inference_mode"] == "synth_hosted"
    assert section["policy"]["provider"] in ("openai", "groq")
    assert section["policy"]["model"]
    assert section["task_app_url"].startswith("http://")
    assert section["results_folder"]
    for key in ("bootstrap_train_seeds", "online_pool"):
        assert section["mipro"][key]
        assert all(type(seed) is int for seed in section["mipro"][key])
    # Left out, the client would fill in a meta-model and a concurrency of its own.
    assert {"meta_model", "meta_model_provider", "max_concurrent"} <= set(section["mipro"])


def test_overrides_take_effect_and_none_takes_a_key_out(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    write_config(
        path,
        "quick-local",
        {
            "task_app_url": "http://127.0.0.1:9",
            "budget": 200,
            "policy.temperature": 0.5,
            "num_intents": 5,
            "env_config.deep": {"a": [1, 2], "b": 'x"\n'},
            "test_pool": None,
            "online_pool": [{"start": 0, "end": 40}],
            "initial_prompt": {"messages": [{"role": "system", "pattern": 'Say "x"\n# = [y]'}]},
        },
    )
    config = load_config(path, environ={})
    assert (config.task_app_url, config.settings.budget, config.policy.temperature) == ("http://127.0.0.1:9", 200, 0.5)
    assert config.env_config == {"num_intents": 5, "deep": {"a": [1, 2], "b": 'x"\n'}}
    assert config.pools.test.seeds is None
    assert config.pools.val.seeds == tuple(range(40))
    assert config.baseline_instruction == 'Say "x"\n# = [y]'
    assert PROFILES["quick-local"].document["prompt_learning"]["env_config"] == {"num_intents": 10}


@pytest.mark.parametrize("overrides", [{"budget": 0}, {"bugdet": 5}, {"policy.model.x": 1}, {"policy.nope": 1}])
def test_wrong_overrides_write_nothing(tmp_path: Path, overrides: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        write_config(tmp_path / "c.toml", "walkthrough", overrides)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["quick-local", "walkthrough", "groq", "production"])
def test_any_profile_can_be_written_for_gepa_on_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / "c.toml"
    write_config(path, name, {"rng_seed": 9, "pareto_set_size": 11, "budget": 400}, algorithm="gepa")
    config, like = load_config(path, environ={}), parse_config(get_profile(name).document, origin=name, environ={})
    assert config.ignored == ()
    assert (config.settings.algorithm, config.pools, config.policy) == ("gepa", like.pools, like.policy)
    assert (config.settings.rng_seed, config.settings.budget, config.settings.pareto_set_size) == (9, 400, 11)


def test_an_environment_variable_reaches_the_key_of_the_algorithm_that_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    write_config(path, "gepa")
    assert load_config(path, environ={"MIPRO_WALK_MINIBATCH_SIZE": "6"}).settings.minibatch_size == 6


def test_changing_a_profiles_document_changes_no_later_one() -> None:
    get_profile("walkthrough").document["prompt_learning"]["termination_config"]["budget"] = 7
    assert get_profile("walkthrough").document["prompt_learning"]["termination_config"]["budget"] == 100


def test_an_unknown_profile_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_config(tmp_path / "c.toml", "fast")
    assert "quick-local" in caught.value.fix


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError) as caught:
        write_config(path, "quick-local")
    assert "--force" in caught.value.fix
    assert path.read_text() == "mine"
    write_config(path, "quick-local", force=True)
    assert load_config(path, environ={}).settings.num_demos == 10
    assert [p.name for p in tmp_path.iterdir()] == ["c.toml"]


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "c.toml").symlink_to(victim)
    with pytest.raises(ConfigError):
        write_config(tmp_path / "c.toml", "quick-local")
    write_config(tmp_path / "c.toml", "quick-local", force=True)
    assert victim.read_text() == "mine"


def test_a_written_file_is_private(tmp_path: Path) -> None:
    write_config(tmp_path / "c.toml", "quick-local")
    assert stat.S_IMODE((tmp_path / "c.toml").stat().st_mode) == 0o600


def test_a_file_system_without_links_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_config(tmp_path / "c.toml", "quick-local")
    with pytest.raises(ConfigError):
        write_config(tmp_path / "c.toml", "quick-local")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError) as caught:
        write_config(tmp_path / "none" / "c.toml", "quick-local")
    assert "none" in caught.value.message


def test_a_resolved_configuration_can_be_rendered(tmp_path: Path) -> None:
    config = parse_config(
        {"prompt_learning": {"initial_prompt": {"messages": [{"role": "system", "pattern": "Hi."}]}}},
        origin="x",
        environ={},
    )
    path = tmp_path / "c.toml"
    path.write_text(render_config(config.as_dict(), title="Resolved"), encoding="utf-8")
    assert load_config(path, environ={}) == config


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_can_pay_its_plan(name: str) -> None:
    config = parse_config(PROFILES[name].document, origin=name, environ={})
    pools = (config.pools.train, config.pools.val, config.pools.test)
    train, val, test = ([Example(seed, f"q{seed}", f"l{seed % 2}") for seed in pool.seeds or ()] for pool in pools)
    plan = plan_for(config.settings, Task("t", "", "i", train, val, test, ("l0", "l1")))
    assert plan.minibatch >= 3
    assert plan.test_rows == config.settings.test_size
