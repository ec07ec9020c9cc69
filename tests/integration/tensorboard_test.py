#!/usr/bin/env -S python3 -B
"""Event files are read by a reader that shares nothing with their writer: the framing and the fields as TensorFlow
documents them, in plain Python; and by TensorBoard itself where Python has it.
"""

import math
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import TestCase, main, read_bytes  # noqa: E402


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    """The records of a file in TensorFlow's framing; ValueError where one is damaged."""
    at = 0
    while at < len(data):
        length, length_crc = struct.unpack_from("<QI", data, at)
        if masked(data[at : at + 8]) != length_crc:
            raise ValueError(f"length at {at}")
        body = data[at + 12 : at + 12 + length]
        (body_crc,) = struct.unpack_from("<I", data, at + 12 + length)
        if masked(body) != body_crc:
            raise ValueError(f"record at {at}")
        yield body
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, value) of each field of a protobuf message: numbers, raw bytes, or length-delimited bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at : at + size], at + size
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {kind}")
        yield key >> 3, value


def events(data):
    """(wall time, step, version or None, {tag: value}) of each record."""
    for record in records(data):
        wall_time, step, version, values = 0.0, 0, None, {}
        for number, value in fields(record):
            if number == 1:
                (wall_time,) = struct.unpack("<d", value)
            elif number == 2:
                step = value
            elif number == 3:
                version = value.decode()
            elif number == 5:
                for _, entry in fields(value):
                    pair = dict(fields(entry))
                    values[pair[1].decode()] = struct.unpack("<f", pair[2])[0]
        yield wall_time, step, version, values


class TensorBoard(TestCase):
    def curves(self, folder):
        """{tag: [(step, value)]} of the one event file in `folder`."""
        names = os.listdir(folder)
        self.assertEqual(len(names), 1, names)
        self.assertRegex(names[0], r"^events\.out\.tfevents\.\d{10}\.")
        read = list(events(read_bytes(os.path.join(folder, names[0]))))
        self.assertEqual([version for _, _, version, _ in read], ["brain.Event:2"] + [None] * (len(read) - 1))
        times = [time for time, *_ in read]
        self.assertEqual(times, sorted(times))
        curves = {}
        for _, step, _, values in read[1:]:
            for tag, value in values.items():
                curves.setdefault(tag, []).append((step, value))
        return curves

    def test_curves_are_those_of_the_run(self):
        board = os.path.join(self.folder, "board")
        run = self.run_leeway(
            f"--tensorboard_dir={board}", "--num_ps=2", "--num_workers=2", "--epochs=4", "--pace=50ms",
            "--eval_every_epochs=1", "--learning_rate=0.02", "--ps_flags=--linger=3s",
        )  # fmt: skip
        summary = run.finish()
        self.assertEqual(sorted(os.listdir(board)), ["eval", "run", "worker-0", "worker-1"])
        curves = self.curves(os.path.join(board, "run"))
        self.assertLessEqual(
            {"train/loss", "train/lr", "eval/accuracy", "perf/examples_per_sec", "ps/staleness_p99"}, set(curves)
        )
        for tag, points in curves.items():
            steps = [step for step, _ in points]
            self.assertEqual(steps, sorted(steps), tag)
            self.assertTrue(all(math.isfinite(value) for _, value in points), tag)
        self.assertEqual(curves["train/lr"][-1][0], summary["steps"])
        self.assertAlmostEqual(curves["train/lr"][-1][1], 0.02, places=6)
        self.assertEqual(curves["eval/accuracy"][-1][0], summary["steps"])
        self.assertAlmostEqual(curves["eval/accuracy"][-1][1], summary["final_accuracy"], places=6)
        self.assertAlmostEqual(curves["eval/loss"][-1][1], summary["final_loss"], places=5)
        self.assertLessEqual(max(value for _, value in curves["ps/staleness_p99"]), summary["max_delay"])
        self.assertEqual(max(value for _, value in curves["ps/live_workers"]), 2)
        steps = 0
        for worker in ("worker-0", "worker-1"):
            own = self.curves(os.path.join(board, worker))
            steps += own["train/loss"][-1][0]
            self.assertLessEqual({"perf/examples_per_sec", "perf/step_seconds", "perf/blocked_share"}, set(own))
            self.assertGreaterEqual(max(value for _, value in own["perf/step_seconds"]), 0.04)  # the pace
        self.assertEqual(steps, summary["steps"])
        evaluations = [value for _, value in self.curves(os.path.join(board, "eval"))["eval/accuracy"]]
        self.assertAlmostEqual(evaluations[-1], summary["final_accuracy"], places=6)
        self.read_by_tensorboard(os.path.join(board, "run"), curves)

    def read_by_tensorboard(self, folder, curves):
        try:
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        except ImportError:
            print("TensorBoard is not installed here: its own reader was not asked")
            return
        accumulator = EventAccumulator(folder, size_guidance={"scalars": 0})
        accumulator.Reload()
        self.assertEqual(set(accumulator.Tags()["scalars"]), set(curves))
        for tag, points in curves.items():
            self.assertEqual([(event.step, event.value) for event in accumulator.Scalars(tag)], points)
        print(f"TensorBoard reads the same {len(curves)} curves")

    def test_a_folder_that_cannot_be_written_holds_up_nobody(self):
        run = self.run_leeway("--tensorboard_dir=/proc/nowhere", "--num_workers=1", "--epochs=2", "--pace=50ms")
        run.finish()
        for name, folder in (("ps-0", "run"), ("worker-0", "worker-0")):
            self.assertRegex(run.log(name), rf" W {name}: --tensorboard_dir=/proc/nowhere/{folder}: ")

    def test_the_reader_sees_damage(self):
        body = b"some record"
        length = struct.pack("<Q", len(body))
        good = length + struct.pack("<I", masked(length)) + body + struct.pack("<I", masked(body))
        self.assertEqual(list(records(good)), [body])
        for at in range(len(good)):
            damaged = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
            with self.assertRaises((ValueError, struct.error)):
                list(records(damaged))


if __name__ == "__main__":
    main()
