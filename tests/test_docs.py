"""The documentation: its code runs, its commands exist, its links lead somewhere."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import tifffile
import typer.main
import yaml
from matplotlib import pyplot
from typer.core import TyperGroup

import napari_coordgate
from napari_coordgate.cli.app import app
from napari_coordgate.io.files import sample_data_folder

ROOT = Path(__file__).parents[1]
PAGES = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
SAMPLE_DATA_PAGES = (
    *("blurred_only.md", "calibration.md", "export.md", "notebook.ipynb", "trust.md"),
    *("tutorial.md", "tutorial_folder.md", "tutorial_layers.md", "tutorial_own_images.md"),
    *("tutorial_train.md", "universal.md", "validate.md"),
)
STEPS = re.compile(r"steps=\d+")


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of a page in one language, or the code cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    """Every call of the program in a shell block, with the page that shows it."""
    calls = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|", line):
                    words = shlex.split(part, comments=True)
                    if words[:1] == ["napari-coordgate"]:
                        words = words[1:] if words[1] not in ("-q", "-v") else words[2:]
                        calls.append((page.name, words))
    return calls


@pytest.mark.parametrize("name", ["README.md", "docs/guide.md"])
def test_python_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = sample_data_folder()
    shutil.copytree(data / "train", "sharp")
    tifffile.imwrite("blurred.tif", tifffile.imread(data / "blurred" / "nuclei.tif")[0])
    if name != "README.md":
        shutil.copy(data / "starter.safetensors", "model.safetensors")
    (code,) = blocks(ROOT / name, "python")
    assert STEPS.search(code)
    exec(compile(STEPS.sub("steps=2", code), name, "exec"), {})


@pytest.mark.parametrize("name", SAMPLE_DATA_PAGES)
def test_examples_with_sample_data_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pyplot.switch_backend("agg")  # no window, also where a test in napari chose another backend
    shutil.copytree(sample_data_folder(), "sample_data")
    names: dict[str, object] = {}  # a later block goes on with what the earlier ones made
    for code in blocks(ROOT / "docs" / name, "python"):
        exec(compile(STEPS.sub("steps=1", code), name, "exec"), names)


def test_commands_and_flags_in_the_docs_exist() -> None:
    group = typer.main.get_command(app)
    context = typer.Context(group)
    calls = commands()
    assert len(calls) > 15
    for page, (name, *arguments) in calls:
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        while isinstance(command, TyperGroup):  # of commands such as "calibrate noise"
            name, *arguments = arguments
            command = command.get_command(context, name)
        assert command is not None, f"{page}: no command {name}"
        known = {flag for parameter in command.params for flag in parameter.opts}
        known |= {flag for parameter in command.params for flag in parameter.secondary_opts}
        used = {word for word in arguments if word.startswith("-") and not word[1:2].isdigit()}
        assert used <= known | {"--help"}, f"{page}: {name} has no {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation_of_the_site_and_every_public_name_in_its_reference() -> (
    None
):
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/]+\.md", str(site["nav"])))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert listed == pages
    icon = ROOT / "docs" / site["theme"]["logo"]
    assert icon.read_text() == (ROOT / "src" / "napari_coordgate" / "icon.svg").read_text()
    reference = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/api").iterdir())
    named = set(re.findall(r"^(?:::: napari_coordgate\.|## )(\w+)$", reference, re.MULTILINE))
    assert named == set(dir(napari_coordgate)) - {"__version__"}


def test_pages_that_run_are_all_pages_with_python() -> None:
    run = {"README.md", "guide.md", *SAMPLE_DATA_PAGES}
    assert {page.name for page in PAGES if blocks(page, "python")} <= run
