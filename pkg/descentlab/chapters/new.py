"""The files of a paper that is not written yet, laid out so that the tests pass."""

from __future__ import annotations

import keyword
from pathlib import Path


def new_paper(book: Path, name: str) -> list[Path]:
    """Write module, experiments, lesson and tests of a paper, and add the lesson to the table of contents.

    Parameters
    ----------
    book : Path
        The folder ``book`` of the checkout.
    name : str
        A Python name in lower case, such as ``"sharpness_aware"``.

    Returns
    -------
    list of Path
        The files written or changed, five.

    Raises
    ------
    ValueError
        If the name is no module name, or one of the files is there already.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise ValueError(f"NAME={name!r}: a module's name in lower case is needed, such as sharpness_aware")
    root, templates = book.parent, book / "_ext" / "new_paper"
    texts = {
        root / "pkg" / "descentlab" / f"{name}.py": templates / "module.py.txt",
        book / "experiments" / f"{name}.py": templates / "experiments.py.txt",
        book / f"{name}.md": templates / "lesson.md.txt",
        root / "tests" / f"test_{name}.py": templates / "test.py.txt",
    }
    contents = root / "_toc.yml"
    if taken := [path for path in (*texts, root / "pkg" / "descentlab" / name) if path.exists()]:
        raise ValueError(f"{taken[0].relative_to(root)} is there already; choose another name, or remove it")
    for path, template in texts.items():
        path.write_text(template.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
    lines = contents.read_text(encoding="utf-8").splitlines()
    last = max(i for i, line in enumerate(lines) if line.rstrip().endswith(".ipynb"))
    lines.insert(last + 1, lines[last].split("book/")[0] + f"book/{name}.ipynb")
    contents.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*texts, contents]
