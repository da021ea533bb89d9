"""What is written down holds: links lead somewhere, paths and symbols exist, tables are complete, and text is ASCII. Long files are listed."""
import functools
import pathlib
import re
import unittest

import tree

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"")
TEXT = (".md", ".cc", ".h", ".py", ".cmake", ".txt", ".toml", ".json", ".in", "")
LONG = 400
PATH = re.compile(r"`((?:src|tests|include|bench|tools|docs|examples|recipes|cmake)/[\w./-]*)`")
SYMBOL = re.compile(r"`([a-z]\w*)::(\w+)")
OTHERS = ("aten", "at", "c10", "my", "nn", "shoal", "std", "torch", "autograd", "testing")  # namespaces of LibTorch, of users, and that of our operators
OPERATOR = re.compile(r"`shoal::(\w+)\(([^)`]*)\)`")
SCHEMA = re.compile(r'"(\w+)\(([^)]*)\) -> ')


def prose_and_fences(text):
    """The text outside code blocks, and the (line number, language) of each opening fence."""
    prose, fences, inside = [], [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            if not inside:
                fences.append((number, line.strip().strip("`")))
            inside = not inside
        elif not inside:
            prose.append(line)
    return "\n".join(prose), fences


def broken_links(page, text):
    """Relative links of a page that name no file."""
    links = [one or other for one, other in LINK.findall(prose_and_fences(text)[0])]
    relative = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    return [link for link in relative if link and not (tree.ROOT / page.parent / link).exists()]


def missing_paths(text):
    """Paths in backticks that name nothing of the project."""
    return [path for path in PATH.findall(text) if not (tree.ROOT / path).exists()]


@functools.cache
def words_of(folder):
    """Every word of the code of a folder of src/."""
    return set(re.findall(r"\w+", " ".join(tree.text(path) for path in tree.files(".cc", ".h") if path.parts[:2] == ("src", folder))))


def missing_symbols(text):
    """Symbols in backticks, as `run::Frame`, that the folder of their namespace does not have."""
    return [f"{folder}::{name}" for folder, name in SYMBOL.findall(text) if folder not in OTHERS and name not in words_of(folder)]


def signatures(schemas):
    """Our own operators: the names of their arguments, by operator."""
    joined = re.sub(r'"\s*"', "", schemas)  # a text over several lines
    return {name: [argument.split()[-1] for argument in arguments.split(", ")] for name, arguments in SCHEMA.findall(joined)}


class Pages(unittest.TestCase):
    def test_paths_exist(self):
        for page in tree.files(".md"):
            self.assertEqual(missing_paths(tree.text(page)), [], f"{page} - paths: the project has none of these")

    def test_symbols_exist(self):
        for page in tree.files(".md"):
            self.assertEqual(missing_symbols(tree.text(page)), [], f"{page} - symbols: the folder of that name has none of these")

    def test_our_operators_are_described_as_they_are(self):
        told = {name: [argument.strip("{} ") for argument in arguments.split(",")]
                for name, arguments in OPERATOR.findall(tree.text("docs/graph.md"))}
        self.assertEqual(told, signatures(tree.text("src/ops/schemas.cc")))

    def test_tables_of_folders_are_complete(self):
        folders = {path.parts[1] for path in tree.files(".cc", ".h") if path.parts[0] == "src"}
        table = set(re.findall(r"^\| `(\w+)` \|", tree.text("docs/README.md"), re.MULTILINE))
        self.assertEqual(table, folders, "docs/README.md - folders")
        source = tree.text("README.md").split("## The source")[1]
        self.assertEqual(set(re.findall(r"^(\w+) {2,}\S", source, re.MULTILINE)), folders, "README.md - folders")

    def test_links_lead_somewhere(self):
        for page in tree.files(".md"):
            self.assertEqual(broken_links(page, tree.text(page)), [], f"{page} - links: these name no file")

    def test_code_blocks_name_their_language(self):
        for page in tree.files(".md"):
            nameless = [number for number, language in prose_and_fences(tree.text(page))[1] if not language]
            self.assertEqual(nameless, [], f"{page} - code blocks: these lines open one without a language (text will do)")

    def test_the_programs_of_the_readme_are_run_by_a_test(self):
        program = tree.text("examples/own_module/main.cc")
        blocks = re.findall(r"^```cpp\n(.*?)^```$", tree.text("README.md"), re.MULTILINE | re.DOTALL)
        self.assertTrue(blocks)
        for block in blocks:
            self.assertIn(block, program, "README.md - cpp: differs from examples/own_module/main.cc, which is built and run")

    def test_text_is_ascii(self):
        for path in tree.files(*TEXT):
            lines = [number for number, line in enumerate(tree.text(path).splitlines(), 1) if not line.isascii()]
            self.assertEqual(lines, [], f"{path} - ASCII: these lines have other characters")

    def test_long_files_are_listed(self):
        sizes = [(tree.text(path).count("\n"), path) for path in tree.files(".cc", ".h", ".py")]
        self.assertTrue(sizes)
        for lines, path in sorted(sizes, reverse=True):
            if lines > LONG:
                print(f"{path}: {lines} lines; does it hold one idea?")


class TheCheckersThemselves(unittest.TestCase):
    def test_what_does_not_exist_is_found(self):
        self.assertEqual(missing_paths("`src/graph/graph.h` `src/graph/none.h` `docs/`"), ["src/graph/none.h"])
        self.assertEqual(missing_symbols("`run::Frame` `run::Nobody` `aten::mm`"), ["run::Nobody"])
        self.assertEqual(signatures('library.def("a(Tensor x, int "\n  "dim) -> Tensor");'), {"a": ["x", "dim"]})

    def test_a_broken_link_is_found(self):
        page = "[a](docs/none.md) [b](CMakeLists.txt#limits) [c](https://example.org)\n```text\n[d](none)\n```\n<img src=\"none.svg\">"
        self.assertEqual(broken_links(pathlib.Path("README.md"), page), ["docs/none.md", "none.svg"])

    def test_a_nameless_block_is_found(self):
        self.assertEqual(prose_and_fences("```\na\n```\n```cpp\nb\n```\n")[1], [(1, ""), (4, "cpp")])


if __name__ == "__main__":
    unittest.main()
