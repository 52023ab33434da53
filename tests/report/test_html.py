# SPDX-License-Identifier: MIT
"""The page: self-contained, without scripts, every verdict in words, hostile names harmless."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from mrv_core.hashing import Digest
from mrv_core.models import Verdict
from mrv_core.report.html import MOST_ROWS, render_html
from mrv_core.report.model import EpochRow, Finding, IntegrityReport, TreeRow
from mrv_core.report.text import MEANINGS, verdict_word

MakeReport = Callable[..., IntegrityReport]

HOSTILE = (
    '</title></style><script>alert(1)</script>\x1b[31m" onload="x\u202e\u200b\n<img src=x onerror=a()>{{7331*7331}}'
)
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "circle", "path", "rect", "use"}


class Page(HTMLParser):
    """Collects elements, attributes and text, and checks that every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], "elements are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def ids(self) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get("id")) is not None]


def _everything_hostile(make_report: MakeReport) -> IntegrityReport:
    """A report in which every text that comes from outside is hostile."""
    report = make_report(
        Verdict.TAMPERED,
        metrics=lambda epoch: {HOSTILE: float(epoch), "nan": float("nan")},
        run_id=HOSTILE,
        run_folder=HOSTILE,
        summary=HOSTILE,
        policy=HOSTILE,
        uncovered=(HOSTILE,),
        hash_algorithm=HOSTILE,
        config={HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}},
        environment=HOSTILE,
        results={HOSTILE: 1, "more": {HOSTILE: HOSTILE}},
        findings=(
            Finding(verdict=Verdict.TAMPERED, place=HOSTILE, message=HOSTILE, expected=HOSTILE, computed=HOSTILE),
        ),
    )
    anchors = tuple(
        anchor.model_copy(
            update={
                "name": HOSTILE,
                "phase": HOSTILE,
                "networks": tuple(
                    result.model_copy(
                        update=dict.fromkeys(
                            ("network", "driver", "detail", "hint", "reference", "network_id", "state"), HOSTILE
                        )
                        | {"facts": {HOSTILE: HOSTILE}, "trusts": (HOSTILE,)}
                    )
                    for result in anchor.networks
                ),
            }
        )
        for anchor in report.anchors
    )
    contents = tuple(
        check.model_copy(update=dict.fromkeys(("path", "source", "detail"), HOSTILE)) for check in report.contents
    )
    steps = tuple(step.model_copy(update=dict.fromkeys(("name", "detail"), HOSTILE)) for step in report.steps)
    tree = tuple(row.model_copy(update={"path": f"{row.path}{HOSTILE.replace('/', '~1')}"}) for row in report.tree)
    return report.model_copy(update={"anchors": anchors, "contents": contents, "steps": steps, "tree": tree})


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_said_in_words(verdict: Verdict, sample_report: MakeReport) -> None:
    page = Page(render_html(sample_report(verdict)))
    assert verdict_word(verdict) in page.text
    assert MEANINGS[verdict] in page.text


@pytest.mark.parametrize("hostile", [False, True])
def test_nothing_can_run_or_be_loaded(hostile: bool, sample_report: MakeReport) -> None:
    page = Page(render_html(_everything_hostile(sample_report) if hostile else sample_report()))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "input"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        target = attributes.get("href") or attributes.get("src") or "#"
        assert target.startswith("#"), f"{tag} refers to {target}"
    (policy,) = (
        attributes["content"]
        for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert "url(" not in render_html(sample_report())


def test_hostile_names_are_shown_and_do_nothing(sample_report: MakeReport) -> None:
    html = render_html(_everything_hostile(sample_report))
    assert not set(html) & set("\x1b\u202e\u200b\x00\r")
    assert str(7331 * 7331) not in html, "a template expression in data was evaluated"
    assert r'</title></style><script>alert(1)</script>\x1b[31m" onload="x\u202e\u200b\n<img src=x' in Page(html).text


def test_the_page_is_the_same_every_time(sample_report: MakeReport) -> None:
    assert render_html(sample_report()) == render_html(sample_report())


def test_references_inside_the_page_lead_somewhere(sample_report: MakeReport) -> None:
    page = Page(render_html(sample_report(Verdict.TAMPERED)))
    ids = page.ids()
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("href", "aria-labelledby"):
            if value := attributes.get(name):
                assert value.removeprefix("#") in ids


def test_what_is_wrong_comes_first_with_its_leaf_and_both_digests(sample_report: MakeReport) -> None:
    report = sample_report(Verdict.TAMPERED)
    page = Page(render_html(report))
    finding = report.findings[0]
    assert page.text.index(finding.place) < page.text.index("Each anchor fixes one root")
    assert finding.expected is not None
    assert finding.computed is not None
    assert finding.expected in page.text
    assert finding.computed in page.text


def test_the_changed_leaf_is_marked_and_unfolded_in_the_tree(sample_report: MakeReport) -> None:
    html = render_html(sample_report(Verdict.TAMPERED))
    tree = html[html.index('id="tree"') : html.index('id="steps"')]
    closed = render_html(sample_report())
    assert tree.count("TAMPERED") == 1
    marked = tree.index("TAMPERED")
    assert tree.rindex('class="name">metrics<', 0, marked) > tree.rindex('<summary><span class="name">7<', 0, marked)
    assert '<details open><summary><span class="name">7</span>' in tree
    assert '<details open><summary><span class="name">7</span>' not in closed


def test_networks_carry_their_honest_labels(sample_report: MakeReport) -> None:
    html = render_html(sample_report())
    page = Page(html)
    assert "Every network of this run is kept in this folder only" in page.text
    cards = html.split('<article class="network')[1:]
    assert len(cards) == 6
    for card in (card.partition("</article>")[0] for card in cards):
        attests_time = "<h4>ethereum</h4>" in card
        assert ("content, not time" in card) is not attests_time
        assert ("Block time" in card) is attests_time
        assert ">embedded</span>" in card


def test_a_network_that_did_not_answer_gets_no_label(sample_report: MakeReport) -> None:
    report = sample_report(Verdict.UNREACHABLE)
    silent = report.anchors[-1].networks[-1].model_copy(update={"network_id": None, "attests_time": False})
    anchor = report.anchors[-1].model_copy(update={"networks": (silent,)})
    html = render_html(report.model_copy(update={"anchors": (anchor,)}))
    assert "content, not time" not in Page(html).text


def test_metrics_are_plotted_and_tabled(sample_report: MakeReport) -> None:
    report = sample_report()
    html = render_html(report)
    for name in ("loss", "val_loss", "accuracy", "privacy · epsilon"):
        assert f"<figcaption><b>{name}</b>" in html
    for row in report.epochs:
        assert f"<title>epoch {row.epoch}: {row.metrics['loss']!r}</title>" in html
    assert "The same in every epoch: privacy · delta 1e-05" in Page(html).text


def test_hashes_are_short_to_read_and_whole_to_copy(sample_report: MakeReport) -> None:
    report = sample_report()
    page = Page(render_html(report))
    for row in report.tree:
        assert (row.digest or row.hash) in page.text


@pytest.mark.parametrize("epochs", [0, 1])
def test_few_epochs(epochs: int, sample_report: MakeReport) -> None:
    page = Page(render_html(sample_report(epoch_count=epochs)))
    assert ("Training, epoch by epoch" in page.text) is bool(epochs)


def test_a_run_of_which_nothing_could_be_read(sample_report: MakeReport) -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("root", "started_at", "hash_algorithm", "config", "environment", "results")
    )
    empty: dict[str, Any] = dict.fromkeys(("anchors", "contents", "epochs", "tree", "steps", "uncovered"), ())
    page = Page(render_html(sample_report(Verdict.TAMPERED, **nothing, **empty)))
    assert "Nothing has been anchored yet" in page.text


def test_long_lists_are_cut_and_say_so(sample_report: MakeReport) -> None:
    count = 5 * MOST_ROWS
    report = sample_report(
        Verdict.TAMPERED,
        findings=tuple(
            Finding(verdict=Verdict.TAMPERED, place=f"data/training/{index}", message="changed")
            for index in range(count)
        ),
        epochs=tuple(EpochRow(epoch=index, metrics={"loss": index}, hash="00" * 32) for index in range(count)),
        config={f"key{index}": index for index in range(count)},
    )
    html = render_html(report)
    assert f"and {count - MOST_ROWS} more in the JSON form" in Page(html).text
    assert f"{count - MOST_ROWS} epochs are left out here" in Page(html).text
    assert html.count('<li class="finding') == MOST_ROWS


def test_a_cut_tree_says_what_is_left_out(sample_report: MakeReport) -> None:
    rows = tuple(
        TreeRow(path=path, kind="branch", size=size, hash="11" * 32)
        for path, size in (("data", 2), ("data/training", 20_000), ("data/training/a", 0))
    )
    page = Page(render_html(sample_report(tree=rows, tree_omitted=20_000)))
    assert "and 19999 more, left out here" in page.text
    assert "20000 of the nodes are left out here" in page.text
    assert "not tracked" not in page.text


def test_a_deeply_nested_tree_is_drawn(sample_report: MakeReport) -> None:
    paths = ["data"]
    for depth in range(190):
        paths.append(f"{paths[-1]}/{depth}")
    rows = tuple(TreeRow(path=path, kind="branch", size=1, hash="00" * 32) for path in paths)
    assert '<span class="name">189</span>' in render_html(sample_report(tree=rows))


def test_commands_can_be_pasted(sample_report: MakeReport) -> None:
    report = sample_report(run_folder="my runs/it's one", root=Digest("sha256", bytes(32)))
    assert """mrv verify 'my runs/it'"'"'s one'""" in Page(render_html(report)).text
