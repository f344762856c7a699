"""The package stays small enough to inherit: lines a file and in all, files a folder, tools and no experiments."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pkg" / "descentlab"
TOTAL = 22_000
REWRITTEN = {"per_sample_adam": 550}  # lines of a paper in the new form, with its tenth of grace
NOT_YET = {  # lines of those that still have to shrink; a ceiling only goes down
    "coordinate_descent": 1060,
    "incremental_gd": 1080,
    "continual_classification": 880,
    "robust_memorization": 2280,
    "dataset_pruning": 1110,
    "progressive_sharpening": 1920,
    "schedule_free": 1170,
    "sgmcmc": 3040,
    "weak_to_strong": 1620,
}
EXPERIMENTS = {"per_sample_adam": 660}


def lines(*paths):
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def place(name):
    return PACKAGE / name if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"


def test_the_package_in_all():
    assert lines(PACKAGE) <= TOTAL


@pytest.mark.parametrize(("name", "most"), [*REWRITTEN.items(), *NOT_YET.items()])
def test_a_paper(name, most):
    assert lines(place(name)) <= most


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_rewritten_paper_has_few_files_and_short_experiments(name):
    assert len(list(place(name).rglob("*.py"))) <= 4 if place(name).is_dir() else place(name).exists()
    assert lines(ROOT / "book" / "experiments" / f"{name}.py") <= EXPERIMENTS[name]


def test_no_file_is_two_things():
    assert [file.name for file in PACKAGE.rglob("*.py") if lines(file) > 800] == []


@pytest.mark.parametrize("name", [*REWRITTEN, *NOT_YET])
def test_papers_export_tools_only(name):
    """No scale, no claim, no experiment; and no paper knows another, nor the lessons."""
    exported = import_module(f"descentlab.{name}").__all__
    assert not {"SMOKE", "BOOK", "FULL", "CLAIMS", "Config", "Study"} & set(exported)
    files = place(name).rglob("*.py") if place(name).is_dir() else [place(name)]
    others = [other for other in [*REWRITTEN, *NOT_YET] if other != name]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert "from experiments" not in text and "import experiments" not in text, file
        assert not [other for other in others if f"descentlab.{other}" in text], file
