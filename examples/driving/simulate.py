"""Frames of a camera in a car, and what each pixel shows, from PyBullet's renderer in software: no screen, no graphics card.

  simulate.py OUT COUNT [SEED]      OUT/00000.png (RGB, 96 x 64) and OUT/00000.label.png (grey: 0 other, 1 road, 2 obstacle), ...

Frame i is a function of (SEED, i) alone, but for the bits of the machine's floating point.
"""
import math
import pathlib
import random
import struct
import sys
import zlib

import numpy
import pybullet

WIDTH, HEIGHT = 96, 64
OTHER, ROAD, OBSTACLE = range(3)


def write_png(path, pixels):
    """pixels: uint8 [height, width] (grey) or [height, width, 3] (RGB)."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour = 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: no filter
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


class Scene:
    """One world, drawn once. x is ahead, y to the left, z up; metres."""

    def __init__(self, rng):
        self.rng = rng
        self.class_of = {}  # by body
        self.curve = rng.uniform(-0.02, 0.02)  # of the road, 1/m
        self.half_width = rng.uniform(3.0, 4.5)
        pybullet.resetSimulation()

    def add(self, what, position, yaw, colour, shape=pybullet.GEOM_BOX, **size):
        visual = pybullet.createVisualShape(shape, rgbaColor=[*colour, 1], **size)
        turned = pybullet.getQuaternionFromEuler([0, 0, yaw])
        self.class_of[pybullet.createMultiBody(0, -1, visual, position, turned)] = what

    def on_road(self, ahead, left):
        """A place beside the middle line, and the road's direction there."""
        yaw = self.curve * ahead
        return ahead - left * math.sin(yaw), self.curve * ahead * ahead / 2 + left * math.cos(yaw), yaw

    def grey(self, low, high):
        level = self.rng.uniform(low, high)
        return [min(1, max(0, level + self.rng.uniform(-0.03, 0.03))) for _ in range(3)]

    def colour(self):
        return [self.rng.uniform(0.05, 0.95) for _ in range(3)]

    def ground(self):
        rng = self.rng
        self.add(OTHER, [80, 0, -0.2], 0, [rng.uniform(0.15, 0.5), rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.3)], halfExtents=[130, 130, 0.1])
        asphalt, paint = self.grey(0.2, 0.5), self.grey(0.75, 0.95)
        step = 3.0
        for i in range(-2, 28):
            x, y, yaw = self.on_road(i * step, 0)
            self.add(ROAD, [x, y, -0.05], yaw, asphalt, halfExtents=[step * 0.6, self.half_width, 0.05])
            if i % 2 == 0:
                self.add(ROAD, [x, y, 0.01], yaw, paint, halfExtents=[step * 0.4, 0.08, 0.01])

    def car(self, ahead, left):
        x, y, yaw = self.on_road(ahead, left)
        paint, length, height = self.colour(), self.rng.uniform(1.7, 2.6), self.rng.uniform(0.45, 0.9)
        self.add(OBSTACLE, [x, y, 0.3 + height / 2], yaw, paint, halfExtents=[length, 0.85, height / 2 + 0.15])
        self.add(OBSTACLE, [x, y, 0.45 + height + 0.25], yaw, self.grey(0.05, 0.4), halfExtents=[length * 0.55, 0.75, 0.3])

    def walker(self, ahead, left):
        x, y, yaw = self.on_road(ahead, left)
        self.add(OBSTACLE, [x, y, 0.7], yaw, self.colour(), pybullet.GEOM_CYLINDER, radius=0.3, length=1.4)
        self.add(OBSTACLE, [x, y, 1.6], yaw, [0.8, 0.6, 0.45], pybullet.GEOM_SPHERE, radius=0.22)

    def roadside(self):
        """What is no obstacle, grey as the road and coloured as cars among it."""
        rng = self.rng
        for _ in range(rng.randint(6, 14)):
            side = rng.choice([-1, 1]) * (self.half_width + rng.uniform(2.5, 14))
            x, y, yaw = self.on_road(rng.uniform(5, 75), side)
            if rng.random() < 0.5:
                height = rng.uniform(1, 5)
                self.add(OTHER, [x, y, height], yaw, self.colour() if rng.random() < 0.5 else self.grey(0.2, 0.7),
                         halfExtents=[rng.uniform(1, 4), rng.uniform(0.8, 2), height])
            else:
                self.add(OTHER, [x, y, 1], 0, [0.35, 0.25, 0.15], pybullet.GEOM_CYLINDER, radius=0.25, length=2)
                self.add(OTHER, [x, y, 3], 0, [0.1, rng.uniform(0.3, 0.5), 0.12], pybullet.GEOM_SPHERE, radius=rng.uniform(0.8, 1.8))

    def draw(self):
        rng = self.rng
        self.ground()
        self.roadside()
        lane = self.half_width / 2
        for _ in range(rng.randint(1, 4)):
            self.car(rng.uniform(6, 35), rng.choice([-1, 1]) * lane + rng.uniform(-0.5, 0.5))
        for _ in range(rng.randint(0, 2)):
            self.walker(rng.uniform(7, 25), rng.uniform(-1, 1) * self.half_width)
        left, yaw = -lane + rng.uniform(-0.7, 0.7), rng.uniform(-0.08, 0.08)
        eye = [0, left, rng.uniform(1.2, 1.7)]
        ahead = [10 * math.cos(yaw), left + 10 * math.sin(yaw), eye[2] - rng.uniform(0.8, 1.8)]
        _, _, rgba, _, bodies = pybullet.getCameraImage(
            WIDTH, HEIGHT, pybullet.computeViewMatrix(eye, ahead, [0, 0, 1]), pybullet.computeProjectionMatrixFOV(48, WIDTH / HEIGHT, 0.3, 150),
            lightDirection=[rng.uniform(-20, 20), rng.uniform(-20, 20), 30], lightAmbientCoeff=rng.uniform(0.4, 0.7),
            lightDiffuseCoeff=rng.uniform(0.3, 0.6), shadow=1, renderer=pybullet.ER_TINY_RENDERER)
        bodies = numpy.asarray(bodies).reshape(HEIGHT, WIDTH)
        labels = numpy.zeros((HEIGHT, WIDTH), numpy.uint8)
        for body, what in self.class_of.items():
            labels[bodies == body] = what
        image = numpy.asarray(rgba, numpy.float64).reshape(HEIGHT, WIDTH, 4)[:, :, :3]
        sky = bodies == -1
        image[sky] = [rng.uniform(120, 220), rng.uniform(150, 220), rng.uniform(190, 255)]
        noise = numpy.random.default_rng(rng.getrandbits(63)).normal(0, 4, image.shape)  # a camera's
        return (image * rng.uniform(0.7, 1.15) + noise).clip(0, 255).astype(numpy.uint8), labels


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("simulate - arguments: got %d, want OUT COUNT [SEED]" % (len(sys.argv) - 1))
    out, count, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
    out.mkdir(parents=True, exist_ok=True)
    pybullet.connect(pybullet.DIRECT)
    for i in range(count):
        image, labels = Scene(random.Random(seed * 1_000_003 + i)).draw()
        write_png(out / f"{i:05}.png", image)
        write_png(out / f"{i:05}.label.png", labels)


if __name__ == "__main__":
    main()
