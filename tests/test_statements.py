"""Every check of every statement, at its smallest honest size, and every control: a wrong method that must miss.

Lessons whose experiments have no `Study` measure in their own cells; their controls are in their own tests.
"""

import importlib
import pkgutil
from functools import cache

import experiments
import pytest

from descentlab.claims import NotAtThisScale

LABS = {m.name: importlib.import_module(f"experiments.{m.name}") for m in pkgutil.iter_modules(experiments.__path__)}
CHECKS = [
    (name, key)
    for name, lab in LABS.items()
    if hasattr(lab, "Study")
    for key, check in lab.statements.checks.items()
    if check.measure is not None
]


@cache
def study(name):
    return LABS[name].Study.at("smoke")


@pytest.mark.parametrize(("name", "key"), CHECKS, ids=[f"{name}-{key}" for name, key in CHECKS])
def test_check_holds_and_its_controls_miss(name, key):
    check = LABS[name].statements.checks[key]
    try:
        found = check.judge(check.measure(study(name)))
    except NotAtThisScale:
        found = {"verdict": "not at this scale"}
    assert found["verdict"] in ("holds", "not at this scale"), found
    assert check.controls
    for wrong, control in check.controls:
        measured = control(study(name))
        assert not check.fault(measured), wrong
        assert not check.holds(measured), f"{wrong}: {measured}"
