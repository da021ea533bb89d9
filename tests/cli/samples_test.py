"""Files become samples, and samples a model: the example of docs/sample_store.md in small, the same bits on any layout, and what is refused."""
import hashlib
import random
import re
import struct
import zlib

import support


def png(rows):
    """A picture in colour: each row a list of (red, green, blue)."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2, 0, 0, 0)
    pixels = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def picture(generator, is_cat, side=32):
    """Stripes, across or down, in noise."""
    def value(x, y):
        return min(255, max(0, (180 if (y if is_cat else x) // 4 % 2 else 60) + generator.randrange(-50, 50)))
    return png([[tuple(value(x, y) for _ in range(3)) for x in range(side)] for y in range(side)])


def tables():
    """The TOML of the example, in order."""
    page = (support.ROOT / "docs/sample_store.md").read_text().split("## From pictures to a model")[1]
    return re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


SMALL = ["--set", "model.width=4", "--set", "model.stages=2", "--set", "train.steps=16", "--set", "train.global_batch=16",
         "--set", "validation.every=8", "--set", "numerics.tensor_chunks=2"]


class Samples(support.CommandBase):
    def setUp(self):
        super().setUp()
        for name, text in zip(["pictures.toml", "r.toml"], tables(), strict=True):
            (self.folder / name).write_text(text)

    def done(self, *arguments):
        end = self.shoal(*arguments)
        self.assertEqual(end.returncode, 0, end.stderr)
        return end.stdout

    def make_pictures(self, count=60):
        generator = random.Random(4)
        for kind in ("cat", "dog"):
            (self.folder / "pictures" / kind).mkdir(parents=True)
            for i in range(count // 2):
                (self.folder / "pictures" / kind / f"{i}.png").write_bytes(picture(generator, kind == "cat"))
        (self.folder / "pictures/cat/wide.png").write_bytes(picture(generator, True, 40))  # the filter leaves it out

    def hashes(self, folder):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (self.folder / folder).iterdir()}

    def test_from_pictures_to_a_model(self):
        self.make_pictures()
        self.done("data", "pictures.toml")
        self.done("data", "pictures.toml", "--devices", "2", "--out", "two")
        self.assertEqual(self.hashes("pictures.store"), self.hashes("two"))
        self.assertRegex(self.done("data", "verify", "pictures.store"), r"^pictures.store: 60 samples in \d+ shards, all as they were written\n$")
        shown = self.done("data", "show", "pictures.store")
        self.assertIn("image: U8 [3, 32, 32]\n", shown)
        self.assertIn("label: I64 [], of 2 classes: cat, dog\n", shown)

        # The same bits: on one device, by tensor, and begun on one device and gone on with on two.
        said = self.train(*SMALL, "--out", "one").stderr
        self.assertRegex(said, r"the sample store pictures.store: \d+ samples to train on, \d+ to validate on; image U8 \[3, 32, 32\] / 255 to label I64 \[\], 2 classes")
        self.train(*SMALL, "--out", "tp", "--layout", "tp=2")
        self.train(*SMALL, "--out", "cut", "--until", "7")
        self.refuses_other_data()
        self.train(*SMALL, "--out", "cut", "--resume", "--layout", "dp=2")
        hashes = {out: self.content_hash(f"{out}/checkpoints/latest") for out in ("one", "tp", "cut")}
        self.assertEqual(len(set(hashes.values())), 1, hashes)
        losses = [line["loss"] for line in support.metrics(self.folder / "one")]
        self.assertLess(losses[-1], 0.7 * losses[0])  # the classes are in the pixels
        self.assertEqual([line["validation_loss"] for line in support.metrics(self.folder / "one") if line.get("validation_loss")],
                         [line["validation_loss"] for line in support.metrics(self.folder / "tp") if line.get("validation_loss")])

        # Predictions: all of a split, also what fills no batch.
        for out, layout in [("a", "dp=1"), ("b", "dp=2")]:
            self.done("predict", "one/checkpoints/latest", "--out", f"{out}.safetensors", "--split", "train", "--samples", "23", "--layout", layout)
        self.assertEqual((self.folder / "a.safetensors").read_bytes(), (self.folder / "b.safetensors").read_bytes())
        validation = int(re.search(r"(\d+) to validate on", said)[1])
        self.assertIn(f"classes of {validation} samples", self.done("predict", "one/checkpoints/latest", "--out", "c.safetensors"))
        self.assertIn("classes of 3 samples", self.done("predict", "one/checkpoints/latest", "--out", "d.safetensors", "--data", "two", "--samples", "3"))

    def refuses_other_data(self):
        """A run goes on with its own data alone."""
        (self.folder / "other.toml").write_text((self.folder / "pictures.toml").read_text().replace("0.8", "0.7").replace("0.2", "0.3"))
        self.done("data", "other.toml", "--out", "other")
        end = self.shoal("train", "r.toml", *SMALL, "--out", "cut", "--resume", "--set", "data.path=other")
        self.assertEqual(end.returncode, 2)
        self.assertRegex(end.stderr, r"^shoal: checkpoint - data: it is of the sample store with hash \w{32}, image to label, this run's is of the sample store with hash")

    def test_what_a_model_cannot_take(self):
        self.make_pictures(20)
        self.done("data", "pictures.toml")

        def refused(sentence, *sets):
            self.assert_refused(["train", "r.toml", *[word for one in sets for word in ("--set", one)], "--out", "refused"], sentence)
        has = "image U8 [3, 32, 32], label I64 []"
        types = "of U8, F16, BF16, F32 or F64"
        refused(f"r.toml - data.input: pictures.store has no field that resnet can take: got {has}, want one of [3, 64, 64] {types}, as model.image says",
                "model.image=64")
        refused(f"--set data.input=picture - data.input: got picture, want a field of pictures.store, which has {has}", "data.input=picture")
        refused(f"--set data.input=label - data.input: got label I64 [], want one of [3, 32, 32] {types}, as model.image says", "data.input=label")
        refused("--set data.target=image - data.target: got image U8 [3, 32, 32], want one of a single whole number, the class", "data.target=image")
        refused('--set data.source=store - data.source: got "store", want "samples" or "random" where model.name is "resnet"; '
                "a token store holds text, which a gpt or a llama learns", "data.source=store")
        refused("other - not a sample store: got no manifest.json, want a folder that shoal data or a SampleStoreWriter finished", "data.path=other")
        (self.folder / "r.toml").write_text(support.RECIPE.replace('"store"', '"samples"', 1))
        refused('r.toml:9 - data.source: got "samples", want "store" or "random" where model.name is "gpt"; '
                "a sample store holds tensors, which an mlp or a resnet learns")

    def test_columns_of_a_table_teach_an_mlp(self):
        generator = random.Random(2)
        points = [(generator.uniform(-1, 1), generator.uniform(-1, 1)) for _ in range(400)]
        (self.folder / "points.csv").write_text("x,y,side\n" + "".join(f"{x:.6f},{y:.6f},{int(x > y) + 2 * (i == 7)}\n" for i, (x, y) in enumerate(points)))
        (self.folder / "p.toml").write_text('[read]\npaths = ["points.csv"]\n[[step]]\nsplit = { by = ["x"], parts = { train = 0.9, validation = 0.1 } }\n'
                                            '[write]\nout = "points"\nformat = "samples"\n[write.fields]\n'
                                            'point = { column = ["x", "y"], dtype = "F32" }\nside = { dtype = "U8" }\nx = {}\n')
        self.done("data", "p.toml")
        (self.folder / "r.toml").write_text('[model]\nname = "mlp"\ninputs = 2\noutputs = 4\nwidth = 16\nlayers = 1\n[data]\nsource = "samples"\npath = "points"\n'
                                            "[train]\nsteps = 150\nglobal_batch = 32\n[optimizer]\nlr = 0.02\n")
        self.train("--out", "one")
        self.train("--out", "three", "--devices", "3")
        self.assertEqual(self.content_hash("one/checkpoints/latest"), self.content_hash("three/checkpoints/latest"))
        right = re.search(r"; ([\d.]+) of \d+ answers", self.done("predict", "one/checkpoints/latest", "--out", "p.safetensors"))
        self.assertGreater(float(right[1]), 0.9)
        # A class that the model has not ends the run, whoever meets it.
        for devices in ("1", "2"):
            end = self.shoal("train", "r.toml", "--set", "model.outputs=2", "--devices", devices, "--out", f"few-{devices}")
            self.assertEqual(end.returncode, 2)
            self.assertIn("points - field side: got the class", end.stderr)
            self.assertIn("want 0 to 1, as model.outputs is 2", end.stderr)
        self.assert_refused(["train", "r.toml", "--set", "model.inputs=1", "--out", "refused"],
                            "r.toml - data.input: points has several that mlp can take: got side U8 [], x F64 []; name one")
        (self.folder / "p.toml").write_text((self.folder / "p.toml").read_text().replace('"U8"', '"BOOL"'))
        end = self.shoal("data", "p.toml", "--out", "bools")
        self.assertEqual(end.returncode, 2)
        self.assertRegex(end.stderr, r"^bools - sample (train|validation)-00000:\d, field side: got [23], want a number that BOOL can hold; "
                                     "say another dtype, or change the column before\n$")


if __name__ == "__main__":
    support.main()
