# SPDX-License-Identifier: MIT
"""What the documentation shows is what happens: its blocks run, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTED_ELSEWHERE = {"writing-a-driver.md", "cli.md"}
"""Pages whose blocks have a test of their own beside the code that they describe."""
STORIES = {"README.md", "quickstart.md", "verification.md"}
"""Pages whose commands follow one another; elsewhere they stand for themselves and only the Python is run."""
PAGES = [ROOT / "README.md", *(path for path in sorted(ROOT.glob("docs/*.md")) if path.name not in TESTED_ELSEWHERE)]
BLOCK = re.compile(r"^```(python|console)(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
RUNNER = """
import subprocess, sys
namespace = {"__name__": "__main__"}

def python(page, line, source):
    exec(compile("\\n" * line + source, page, "exec"), namespace)

def console(page, line, command, status):
    sys.stdout.flush()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != status:
        sys.exit(f"{page}:{line}: {command} ended with {done.returncode}\\n{done.stdout}{done.stderr}")
"""


def program_of(page: Path) -> str:
    """Write a program that does what the page's blocks do, one after another."""
    text = page.read_text(encoding="utf-8")
    lines = [RUNNER]
    for match in BLOCK.finditer(text):
        language, info, source = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if "no-run" in info.split():
            continue
        if language == "python":
            lines.append(f"python({page.name!r}, {line}, {source!r})")
            continue
        if page.name not in STORIES:
            continue
        status = int(next((word[5:] for word in info.split() if word.startswith("exit=")), 0))
        for command in re.findall(r"^\$ (.*)$", source, re.MULTILINE):
            lines.append(f"console({page.name!r}, {line}, {words(command)!r}, {status})")
    return "\n".join(lines)


def words(command: str) -> list[str]:
    program, *arguments = command.split()
    assert program == "mrv", f"only mrv is run: {command}"
    return [str(Path(sys.executable).with_name("mrv")), *arguments]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run_as_they_stand(page, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MRV_", "ETH_"))}
    program = program_of(page)
    if program == RUNNER:
        assert not re.search(r"^```(python|console)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        return
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def anchors_of(page: Path) -> set[str]:
    """Return the names that headings get: lower case, spaces to hyphens, the rest of the punctuation left out."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors_of(file), f"{page.name} links to {target}#{anchor}"


def test_every_page_is_in_the_index():
    linked = {target for target, _ in LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))}
    pages = {path.name for path in ROOT.glob("docs/*.md")} | {f"adr/{path.name}" for path in ROOT.glob("docs/adr/*.md")}
    assert pages - linked == {"index.md"}


def test_messages_in_troubleshooting_are_those_of_the_program():
    source = "".join(path.read_text(encoding="utf-8") for path in [*ROOT.glob("mrv_*/**/*.py"), ROOT / "Makefile"])
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    titles = re.findall(r"^\*\*(.+?)\*\*", page, re.MULTILINE | re.DOTALL)
    messages = [span for title in titles for span in re.findall(r"`([^`]+)`", title) if " " in span]
    assert len(messages) > 10
    for message in messages:
        if message.startswith("ModuleNotFoundError"):
            continue  # Python's own
        for part in filter(None, (part.strip(" '?") for part in re.split(r"…|'[^']*'", message))):
            assert part in source, f"{message!r}: nothing says {part!r}"
