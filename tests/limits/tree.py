"""The files of the project, as the tests of the tree see them."""
import functools
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOT_OURS = ("build", ".", "data", "runs", "__pycache__")


@functools.cache
def files(*suffixes):
    """What git tracks, or in a tree without git all but the folders that a build makes; as paths from the root, sorted."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        names = [pathlib.Path(line) for line in listed.stdout.splitlines()]
    else:
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        names = [path for path in found if not path.parts[0].startswith(NOT_OURS)]
    return sorted(path for path in names if (ROOT / path).is_file() and (not suffixes or path.suffix in suffixes))


def text(path):
    return (ROOT / path).read_text()
