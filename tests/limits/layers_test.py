"""Folders of src/ include only what stands to their left in the flow (the table below); public headers include nothing from src/."""
import pathlib
import re
import unittest

import tree

# What each folder stands on. It may include that, and what that stands on.
STANDS_ON = {
    "base": [],
    "graph": ["base"],
    "capture": ["graph"],
    "ops": ["graph"],
    "plan": ["ops"],
    "lower": ["plan", "comm"],
    "comm": ["base"],
    "state": ["base", "comm"],
    "data": ["state"],
    "run": ["lower", "comm", "capture"],
    "train": ["run", "state", "data", "models"],
    "serve": ["train"],
    "models": [],
    "cli": ["serve"],
}
WITHOUT_TENSORS = ("base", "comm", "state", "data")  # they build in seconds and run under the thread sanitizer
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def below(folder):
    """The folders that `folder` may include, itself among them."""
    found = {folder}
    for other in STANDS_ON[folder]:
        found |= below(other)
    return found


def home(header):
    """The folder that defines a public header: the one with the .cc of its name; base for those that need none."""
    for path in tree.files(".cc"):
        if path.parts[0] == "src" and path.stem == pathlib.Path(header).stem and len(path.parts) == 3:
            return path.parts[1]
    return "train" if header == "shoal/shoal.h" else "base"


def fault(path, kind, header):
    """Why the file at `path` may not include `header`, or None."""
    target = header.split("/")[0]
    ours = target in STANDS_ON or target == "shoal"
    if path.parts[0] == "include":
        return "public headers include nothing from src/" if ours and target != "shoal" else None
    folder = path.parts[1]
    if folder not in STANDS_ON:
        return f"{folder} has no row in {pathlib.Path(__file__).name}"
    if folder in WITHOUT_TENSORS and target in ("torch", "ATen", "c10"):
        return f"{folder} knows bytes, not tensors"
    if folder == "models":
        return "models are plain LibTorch modules" if ours and target != "models" else None
    if target == "shoal":
        target = home(header)
    elif kind == "<" or "/" not in header:
        return None
    return None if target in below(folder) else f"{folder} stands on {', '.join(sorted(below(folder) - {folder})) or 'nothing'}"


class Layers(unittest.TestCase):
    def test_includes_follow_the_flow(self):
        checked = 0
        for path in tree.files(".cc", ".h"):
            if path.parts[0] == "include" or (path.parts[0] == "src" and len(path.parts) > 2):
                for kind, header in INCLUDE.findall(tree.text(path)):
                    self.assertIsNone(fault(path, kind, header), f'{path} - #include "{header}"')
                    checked += 1
        self.assertGreater(checked, 100)

    def test_faults_are_found(self):
        for path, kind, header in [
            ("src/base/a.h", '"', "comm/comm.h"),
            ("src/base/a.h", '"', "shoal/world.h"),
            ("src/comm/shm/a.cc", "<", "ATen/ATen.h"),
            ("src/graph/a.cc", '"', "capture/capture.h"),
            ("src/lower/a.cc", '"', "run/executor.h"),
            ("src/models/gpt.h", "<", "shoal/shoal.h"),
            ("src/elsewhere/a.cc", '"', "base/text.h"),
            ("include/shoal/a.h", '"', "base/text.h"),
        ]:
            self.assertIsNotNone(fault(pathlib.Path(path), kind, header), f"{path} includes {header}")


if __name__ == "__main__":
    unittest.main()
