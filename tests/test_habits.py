"""The configuration that hosts and hooks read: it names what exists, in the form they expect."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_hooks_call_targets_of_the_makefile() -> None:
    """And no tool of their own version."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    targets = re.findall(
        r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"} and hooks
    for hook in hooks:
        command, target = hook["entry"].split()
        assert (command, hook["language"]) == ("make", "system") and target in targets


def test_there_is_a_form_for_bugs_and_for_features() -> None:
    assert [form.name for form in FORMS] == ["bug.yml", "config.yml", "feature.yml"]
    config = yaml.safe_load(FORMS[1].read_text(encoding="utf-8"))
    assert config == {
        "blank_issues_enabled": False
    }  # nobody passes the choice that offers SECURITY.md


@pytest.mark.parametrize(
    "form", [form for form in FORMS if form.name != "config.yml"], ids=lambda form: form.name
)
def test_a_form_has_what_its_reader_needs(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert all(isinstance(content[key], str) and content[key] for key in ("name", "description"))
    fields = [part for part in content["body"] if part["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    for field in fields:
        assert field["type"] in ("textarea", "checkboxes") and field["attributes"]["label"]
        assert field["type"] != "checkboxes" or all(
            option["label"] for option in field["attributes"]["options"]
        )
    assert any(field.get("validations", {}).get("required") for field in fields)


@pytest.mark.parametrize("page", ["RELEASING.md", ".github/pull_request_template.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    named = re.findall(
        r"`([\w./-]+\.(?:md|toml|py|cff)|docs/|bundle/)`", (ROOT / page).read_text(encoding="utf-8")
    )
    assert named and not [name for name in named if not (ROOT / name).exists()]
