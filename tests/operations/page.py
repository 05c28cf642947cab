"""A page of the documentation that a test follows: what it has the operator do, the test does."""

import re

from chart import ROOT


class Page:
    """The steps of a page: numbered or bulleted items under their heading."""

    def __init__(self, name):
        text = (ROOT / "docs" / name).read_text()
        sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
        self._sections = {section.splitlines()[0]: section for section in sections}
        self._steps = {
            (section.splitlines()[0], number): step
            for section in sections
            for number, step in enumerate(re.split(r"^(?:\d+\.|-) ", section, flags=re.MULTILINE)[1:], 1)
        }
        self._followed = set()

    def step(self, section, number, *saying):
        """Begins a step, which has to say this."""
        step = " ".join(self._steps[section, number].split())
        for words in saying:
            assert words in step, f"step {number} of {section!r} does not say {words!r}: {step}"
        self._followed.add((section, number))

    def says(self, section, *words):
        """That a section without steps says this."""
        text = " ".join(self._sections[section].split())
        for it in words:
            assert it in text, f"{section!r} does not say {it!r}: {text}"

    def text(self, section):
        return self._sections[section]

    def assert_followed(self, *sections):
        """That no step of these sections was left out."""
        left = [step for step in self._steps if step[0] in sections and step not in self._followed]
        assert not left, f"steps that nobody has followed: {left}"
