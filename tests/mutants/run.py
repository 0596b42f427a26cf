"""Break each rule on purpose and see the test that guards it fail: `python tests/mutants/run.py [name ...]`.

Each `NN-name.patch` beside this file is a unified diff that breaks one rule. Its first lines are comments: why it
is wrong, and `# must fail: tests/...::test_name`, the tests that have to notice. Patches are applied to copies of
the tree, never to the tree itself. A mutant is caught if every test that it names passes on the unbroken tree and
fails on the broken one; a patch that no longer fits is a failure too, since it guards nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COPIED = ("headgate", "tests", "pyproject.toml", "main.py")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.db*")
AT_ONCE = 2
TIMEOUT_S = 180
PASSED, FAILED = 0, 1
"""What pytest exits with; anything else means that the test was not run as it should have been."""

MUST_FAIL = "# must fail: "
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class DoesNotFit(Exception):
    """A patch that cannot be applied to the tree as it stands."""


@dataclass(frozen=True)
class Hunk:
    """A block of lines in one file, and what it becomes."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Mutant:
    """One way to break a rule, and the tests that must notice."""

    name: str
    tests: tuple[str, ...]
    hunks: tuple[Hunk, ...]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    caught: bool
    words: str


# -- patches -------------------------------------------------------------------------------------------------


def read(path: Path) -> Mutant:
    """Read one patch. Raises DoesNotFit for one that names no test or changes nothing."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    tests = tuple(
        line.removeprefix(MUST_FAIL).strip() for line in lines if line.startswith(MUST_FAIL)
    )
    hunks = tuple(_hunks(lines))
    if not tests or not hunks:
        raise DoesNotFit(f"{path.name} names no test or changes nothing")
    return Mutant(path.stem, tests, hunks)


def _hunks(lines: Sequence[str]) -> Iterator[Hunk]:
    """Every hunk, by the counts in its head: a removed SQL comment looks like the head of a file."""
    path = ""
    rest = iter(lines)
    for line in rest:
        head = _HUNK.match(line)
        if head:
            before, after = (int(count or 1) for count in head.groups())
            yield Hunk(path, *_sides(rest, before, after))
        elif line.startswith("+++ "):
            path = line[4:].split()[0].removeprefix("b/")


def _sides(lines: Iterator[str], before: int, after: int) -> tuple[str, str]:
    """So many lines of before and after, taken from a hunk."""
    old, new = list[str](), list[str]()
    while len(old) < before or len(new) < after:
        line = next(lines, None)
        if line is None:
            raise DoesNotFit("a hunk is shorter than its head says")
        mark, text = (line[0], line[1:]) if line[0] in "+- " else (" ", line)
        if mark != "+":
            old.append(text)
        if mark != "-":
            new.append(text)
    return "".join(old), "".join(new)


def apply(mutant: Mutant, tree: Path) -> None:
    """Break a tree. A hunk's lines are looked for anywhere in the file, and must stand there exactly once."""
    for hunk in mutant.hunks:
        path = tree / hunk.path
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        found = text.count(hunk.before)
        if found != 1:
            raise DoesNotFit(f"its lines stand {found} times in {hunk.path}")
        path.write_text(text.replace(hunk.before, hunk.after), encoding="utf-8")


# -- running -------------------------------------------------------------------------------------------------


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headgate-mutant-") as folder:
        tree = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=LEFT_OUT)
            else:
                shutil.copy2(source, tree / name)
        yield tree


def run_tests(tree: Path, tests: Sequence[str]) -> int:
    """Run some tests of a tree with the interpreter that runs this; returns pytest's exit code, -1 if it hung."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p"]
    environment = os.environ | {
        "HEADGATE_MUTANTS": "1",
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [*command, "no:randomly", *tests],
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1
    return done.returncode


def broken_before(tests: Sequence[str]) -> set[str]:
    """The tests that do not even pass on the unbroken tree."""
    with copy_of_the_tree() as tree:
        if not tests or run_tests(tree, tests) == PASSED:
            return set()
        return {test for test in tests if run_tests(tree, [test]) != PASSED}


def judge(mutant: Mutant) -> Verdict:
    """Break a copy of the tree and run the tests that must notice, each by itself."""
    with copy_of_the_tree() as tree:
        try:
            apply(mutant, tree)
        except DoesNotFit as problem:
            return Verdict(mutant, False, f"DOES NOT FIT, {problem}")
        for test in mutant.tests:
            code = run_tests(tree, [test])
            if code == PASSED:
                return Verdict(mutant, False, "SURVIVED")
            if code != FAILED:
                return Verdict(mutant, False, f"NOT TESTED (pytest exit {code})")
    return Verdict(mutant, True, "caught")


def main(names: Sequence[str]) -> int:
    """Judge every mutant, or those whose names contain one of `names`; 0 only if each was caught."""
    paths = sorted(HERE.glob("*.patch"))
    chosen = [path for path in paths if not names or any(name in path.stem for name in names)]
    try:
        mutants = [read(path) for path in chosen]
    except DoesNotFit as problem:
        say(f"FAILED: {problem}")
        return 1
    broken = broken_before(sorted({test for mutant in mutants for test in mutant.tests}))
    for test in sorted(broken):
        say(f"fails or is missing on the unbroken tree: {test}")
    sound = [mutant for mutant in mutants if broken.isdisjoint(mutant.tests)]
    caught = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for verdict in pool.map(judge, sound):
            caught += verdict.caught
            say(f"{verdict.mutant.name:<44} {verdict.words}: {_short(verdict.mutant.tests)}")
    good = caught == len(mutants) and bool(mutants)
    say(f"{'OK' if good else 'FAILED'}: {caught} of {len(mutants)} mutants caught")
    return 0 if good else 1


def _short(tests: Sequence[str]) -> str:
    return ", ".join(test.rpartition("::")[2] for test in tests)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
