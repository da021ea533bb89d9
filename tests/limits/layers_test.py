"""Folders of src/ include only what stands to their left in the flow (the table below); public headers include nothing from src/.

What decides bits (numerics) never sees where ranks stand (mesh), nor the other way round. The library never sees the application. A file of src/ fits
in 400 lines."""
import pathlib
import re
import unittest

import tree

# What each folder of the library stands on. It may include that, and what that stands on.
STANDS_ON = {
    "base": [],
    "comm": ["base"],
    "state": ["comm"],
    "data": ["state"],
    "mesh": ["base"],
    "graph": ["base"],
    "ops": ["graph"],
    "numerics": ["ops"],
    "capture": ["numerics", "kernels"],
    "lower": ["graph", "mesh", "comm", "ops"],
    "kernels": ["graph", "comm"],
    "run": ["capture", "lower"],
    "session": ["run", "data"],
    "text": ["base"],
    "formats": ["state", "text"],
    "infer": ["formats", "comm"],
    "serve": ["infer"],
    "flow": ["data", "formats"],
}
# The application, which stands on the library.
APPLICATION = {
    "models": [],
    "app": ["session", "data", "models", "serve"],
    "cli": ["app", "flow"],
}
ALL = STANDS_ON | APPLICATION
APART = ("numerics", "mesh")  # neither may include the other, however far around
WITHOUT_TENSORS = ("base", "comm", "mesh", "state", "data", "text", "formats", "infer", "serve", "flow")  # they build in seconds and run under the thread sanitizer
LONGEST = 400
PRINTS = ("src/comm/launch.cc", "src/run/world.cc")  # what ends a job, on stderr
PRINTING = re.compile(r"\b(stdout|stderr|cout|cerr|clog)\b|\b(printf|puts|perror|TORCH_WARN\w*)\(")
ENDING = re.compile(r"\bstd::(exit|quick_exit|abort|terminate)\(|(?<![.>\w])exit\(")
# All that is the CPU's stands in one folder, behind kernels/device.h.
CPU = "src/kernels/cpu/"
NAMES_CPU = re.compile(r"\bkCPU\b|\bis_cpu\(|\b(DeviceType|DispatchKey)::CPU\b|getDefaultCPUGenerator|CPUGeneratorImpl"
                       r"|\b[GS]et(Default)?CPUAllocator|CPUAllocator\.h|\bmkl_\w+")
HOST = "kernels/cpu/host.h"  # what others may include of it
CPU_BY_DEFAULT = (  # who may ask for the CPU, since nobody hands them a Device
    "src/capture/capture.cc",
    "src/run/world.cc",
    "src/session/check_capture.cc",
    "src/session/plan_programs.cc",
)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def below(folder):
    """The folders that `folder` may include, itself among them."""
    found = {folder}
    for other in ALL[folder]:
        found |= below(other)
    return found


def home(header):
    """The folder that defines a public header: the one with the .cc of its name; base for those that need none."""
    for path in tree.files(".cc"):
        if path.parts[0] == "src" and path.stem == pathlib.Path(header).stem and len(path.parts) == 3:
            return path.parts[1]
    return "session" if header == "shoal/shoal.h" else "base"


def fault(path, kind, header):
    """Why the file at `path` may not include `header`, or None."""
    target = header.split("/")[0]
    ours = target in ALL or target == "shoal"
    if path.parts[0] == "include":
        return "public headers include nothing from src/" if ours and target != "shoal" else None
    folder = path.parts[1]
    if folder not in ALL:
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


def cpu_fault(path, text):
    """Why the file at `path` knows more of the CPU than it may, or None."""
    if str(path).startswith(CPU):
        return None
    if named := NAMES_CPU.search(re.sub(r"//.*", "", text)):
        return f"{named[0]} is the CPU's: ask the Device (kernels/device.h)"
    for _, header in INCLUDE.findall(text):
        if header.startswith("kernels/cpu/") and header != HOST:
            if header != "kernels/cpu/cpu_device.h" or str(path) not in CPU_BY_DEFAULT:
                return f"{header} is the CPU's: take a kernels::Device"
    return None


def sources():
    """All C++ of the library and the application."""
    return [path for path in tree.files(".cc", ".h") if path.parts[0] == "src"]


def reached(path):
    """The files of src/ that a file includes, directly or through others."""
    found, open_files = set(), [path]
    while open_files:
        for _, header in INCLUDE.findall(tree.text(open_files.pop())):
            header = pathlib.Path("src", header)
            if header not in found and (tree.ROOT / header).is_file():
                found.add(header)
                open_files.append(header)
    return found


class Layers(unittest.TestCase):
    def test_includes_follow_the_flow(self):
        checked = 0
        for path in tree.files(".cc", ".h"):
            if path.parts[0] == "include" or (path.parts[0] == "src" and len(path.parts) > 2):
                for kind, header in INCLUDE.findall(tree.text(path)):
                    self.assertIsNone(fault(path, kind, header), f'{path} - #include "{header}"')
                    checked += 1
        self.assertGreater(checked, 100)

    def test_what_decides_bits_and_where_ranks_stand_know_nothing_of_each_other(self):
        for one, other in (APART, reversed(APART)):
            self.assertNotIn(other, below(one), f"the table lets {one} include {other}")
            paths = [path for path in sources() if path.parts[1] == one]
            self.assertTrue(paths)
            for path in paths:
                seen = [header for header in reached(path) if header.parts[1] == other]
                self.assertEqual(seen, [], f"{path} sees {other}")
        self.assertEqual(below("numerics"), {"numerics", "ops", "graph", "base"})

    def test_the_library_knows_nothing_of_the_application(self):
        for folder in STANDS_ON:
            self.assertEqual(below(folder) & APPLICATION.keys(), set(), f"the table lets {folder} include the application")
        for path in sources():
            if path.parts[1] in STANDS_ON:
                seen = [header for header in reached(path) if header.parts[1] in APPLICATION]
                self.assertEqual(seen, [], f"{path} sees the application")

    def test_the_build_has_the_same_line_between_library_and_application(self):
        globs = dict(re.findall(r"file\(GLOB (SHOAL_\w+)_SOURCES CONFIGURE_DEPENDS ([^)]*)\)", tree.text("src/CMakeLists.txt")))
        globs["SHOAL"] = re.search(r"GLOB SHOAL_SOURCES CONFIGURE_DEPENDS ([^)]*)\)", tree.text("src/CMakeLists.txt"))[1]
        folders = {name: {pattern.split("/")[0] for pattern in patterns.split()} for name, patterns in globs.items()}
        without_tensors = folders["SHOAL_BASE"] | folders["SHOAL_SERVING"] | folders["SHOAL_FLOW"]
        self.assertEqual(without_tensors, set(WITHOUT_TENSORS))
        self.assertEqual(without_tensors | folders["SHOAL"], set(STANDS_ON))
        self.assertEqual(folders["SHOAL_APP"] | folders["SHOAL_CLI"], set(APPLICATION))

    def test_the_library_neither_prints_nor_ends_the_process(self):
        library = {str(path): re.sub("//.*", "", tree.text(path)) for path in sources() if path.parts[1] in STANDS_ON}
        self.assertEqual([path for path, text in library.items() if PRINTING.search(text)], list(PRINTS))
        for path, text in library.items():
            self.assertIsNone(ENDING.search(text), f"{path} ends the process")

    def test_the_cpu_stands_in_one_folder(self):
        files = [path for path in tree.files(".cc", ".h") if path.parts[0] in ("src", "include")]
        for path in files:
            self.assertIsNone(cpu_fault(path, tree.text(path)), path)
        # What is looked for is there to be found, and nobody may more than he does.
        cpu = " ".join(tree.text(path) for path in files if str(path).startswith(CPU))
        for name in ("kCPU", "DeviceType::CPU", "getDefaultCPUGenerator", "SetCPUAllocator", "mkl_serv_cbwr_set"):
            self.assertIn(name, {found[0] for found in NAMES_CPU.finditer(cpu)})
        for path in CPU_BY_DEFAULT:
            self.assertIn("kernels::cpu()", tree.text(path), path)

    def test_what_names_the_cpu_is_found(self):
        for path, text in [
            ("src/run/a.cc", "const at::Tensor x = at::empty({2}, at::kCPU);"),
            ("src/run/a.cc", "c10::Device device(c10::kCPU);"),
            ("src/session/a.cc", "if (tensor.is_cpu()) return;"),
            ("src/capture/a.cc", "if (tensor.device().type() == c10::DeviceType::CPU) return;"),
            ("src/capture/a.cc", "op.hasKernelForDispatchKey(c10::DispatchKey::CPU)"),
            ("src/run/a.cc", "at::detail::getDefaultCPUGenerator().set_current_seed(1);"),
            ("src/run/a.cc", "c10::SetCPUAllocator(&allocator);"),
            ("src/app/a.cc", "mkl_set_num_threads(1);"),
            ("include/shoal/a.h", "torch::Device device = torch::kCPU;"),
            ("src/run/a.cc", '#include "kernels/cpu/parts.h"\n'),
            ("src/run/frame.cc", '#include "kernels/cpu/cpu_device.h"\n'),
        ]:
            self.assertIsNotNone(cpu_fault(pathlib.Path(path), text), text)
        for path, text in [
            ("src/kernels/cpu/a.cc", "at::empty({2}, at::kCPU);"),
            ("src/run/a.cc", "// as at::kCPU does"),
            ("src/capture/a.cc", '#include "kernels/cpu/host.h"\n'),
            ("src/run/world.cc", '#include "kernels/cpu/cpu_device.h"\n'),
            ("src/capture/a.cc", "at::mkldnn_rnn_layer(x);"),
        ]:
            self.assertIsNone(cpu_fault(pathlib.Path(path), text), text)

    def test_files_are_short(self):
        long = {str(path) for path in sources() if tree.text(path).count("\n") > LONGEST}
        self.assertEqual(long, set(), f"more than {LONGEST} lines: let each hold one idea")

    def test_faults_are_found(self):
        for path, kind, header in [
            ("src/base/a.h", '"', "comm/comm.h"),
            ("src/base/a.h", '"', "shoal/world.h"),
            ("src/comm/shm/a.cc", "<", "ATen/ATen.h"),
            ("src/graph/a.cc", '"', "capture/capture.h"),
            ("src/lower/a.cc", '"', "run/executor.h"),
            ("src/numerics/a.cc", '"', "mesh/device_mesh.h"),
            ("src/numerics/a.cc", '"', "shoal/layout.h"),
            ("src/mesh/a.cc", '"', "numerics/divide.h"),
            ("src/session/a.cc", '"', "app/recipe.h"),
            ("src/run/a.cc", '"', "models/gpt.h"),
            ("src/kernels/cpu/a.cc", '"', "run/exchange.h"),
            ("src/kernels/device.h", '"', "capture/capture.h"),
            ("src/models/gpt.h", "<", "shoal/shoal.h"),
            ("src/elsewhere/a.cc", '"', "base/text.h"),
            ("include/shoal/a.h", '"', "base/text.h"),
        ]:
            self.assertIsNotNone(fault(pathlib.Path(path), kind, header), f"{path} includes {header}")


if __name__ == "__main__":
    unittest.main()
