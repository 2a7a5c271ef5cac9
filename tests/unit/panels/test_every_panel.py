"""What holds for every panel that there is."""

from __future__ import annotations

import importlib
import pkgutil

import anywidget
import pytest
import tinycss2

from fm_notebook import panels

MODULES = [module.name for module in pkgutil.iter_modules(panels.__path__)]
PANELS = [
    value
    for name in MODULES
    for value in vars(importlib.import_module(f"fm_notebook.panels.{name}")).values()
    if isinstance(value, type) and issubclass(value, anywidget.AnyWidget) and value.__module__ == f"fm_notebook.panels.{name}"
]


def test_there_are_panels():
    assert {each.__name__ for each in PANELS} >= {"ProgressPanel", "FormPanel", "RunsPanel"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_wears_the_common_look_and_draws_with_the_common_code(panel):
    assert ".fm-panel .fm-button" in panel._css
    assert "function node(" in panel._esm


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_needs_no_other_address(panel):
    """No CDN, no font, no import: hubs, VS Code and machines without a network draw it as well."""
    for text in (panel._css, panel._esm):
        assert "@import" not in text
        assert "url(" not in text
        assert not [line for line in text.splitlines() if "://" in line and "www.w3.org" not in line]
    assert "\nimport " not in panel._esm


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_is_shown_with_its_static_twin_under_ipywidgets_7_too(panel):
    assert panel._ipython_display_ is None
    assert "_repr_mimebundle_" in vars(panel)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panels_style_touches_nothing_but_panels(panel):
    found = list(selectors(tinycss2.parse_stylesheet(panel._css, skip_comments=True, skip_whitespace=True)))
    assert found
    assert [
        each for each in found if not each.startswith((".fm-panel", ".fm-form", ".fm-runs", ".fm-inspect", ".fm-progress"))
    ] == []


def selectors(rules):
    """Each selector of the sheet, those within @media too."""
    for rule in rules:
        if rule.type == "at-rule" and rule.lower_at_keyword == "media":
            yield from selectors(tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True))
        elif rule.type == "qualified-rule":
            words = [[]]
            for token in rule.prelude:
                if token.type == "literal" and token.value == ",":
                    words.append([])
                else:
                    words[-1].append(token)
            yield from (tinycss2.serialize(tokens).strip() for tokens in words)
