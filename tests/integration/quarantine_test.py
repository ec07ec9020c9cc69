#!/usr/bin/env -S python3 -B
"""A worker whose gradients are not finite is refused, counted, and after a while put out for good; the others train on.

Some records have features near the largest float, of either sign, so that some of a layer's sums over them overflow.
With static data every second record is one worker's of two, and its alone.
"""

import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import TestCase, main, worker_of  # noqa: E402

AFTER = 10
PER_EPOCH = 20  # batches of each worker
FEATURES = 16


class Quarantine(TestCase):
    def data(self, overflow):
        """The flag of a file in which `overflow(i)` says which records overflow."""
        numbers = random.Random(1)
        path = os.path.join(self.folder, "train.csv")
        with open(path, "w", encoding="ascii") as file:
            for i in range(2 * 50 * PER_EPOCH):
                label = i // 2 % 2
                features = [
                    numbers.choice(["3e38", "-3e38"]) if overflow(i) else f"{numbers.gauss(2 * label - 1, 1):.3f}"
                    for _ in range(FEATURES)
                ]
                file.write(",".join([str(label)] + features) + "\n")
        return f"--data=csv:{path},{path}"

    def start_run(self, data, *flags):
        return self.run_leeway(
            data, "--eval=false", "--num_ps=2", "--num_workers=2", "--data_sharing=static", "--pace=50ms", *flags
        )

    def check(self, run, summary, epochs):
        """worker-1 was put out, worker-0 trained on all that is its own."""
        self.assertEqual(summary["quarantined"], 1)
        out, good = worker_of(summary, "worker-1"), worker_of(summary, "worker-0")
        self.assertEqual(out["state"], "quarantined", run.everything())
        self.assertRegex(out["reason"], rf"^\d+ pushes in a row held a NaN or an infinity .*={AFTER}\)$")
        self.assertGreaterEqual(int(out["reason"].split()[0]), AFTER)
        self.assertEqual(out["pushes"]["applied"], 0)
        self.assertEqual((good["state"], good["steps"]), ("left", epochs * PER_EPOCH))
        # The worker says why it ends, in one line, and is not started again.
        self.assertRegex(run.log("worker-1"), r"worker: join: worker 'worker-1' is quarantined: \d+ pushes in a row")
        self.assertIn("worker-1 ended with exit code 3", run.output())
        self.assertNotIn("worker-1 will be started again", run.output())
        self.assertRegex(run.log("ps-0"), r"coordinator: worker 'worker-1' is quarantined: ")

    def test_the_others_train_on_and_the_run_ends_well(self):
        # (The last: a push that is not finite asks for its ticket like any other, and is not taken for a late one.)
        for flags in (["stream"], ["whole"], ["whole", "--max_delay=1000"]):
            with self.subTest(flags):
                epochs = 4
                run = self.start_run(
                    self.data(lambda i: i % 2 == 1),
                    f"--epochs={epochs}", "--restart_workers", f"--push_atomicity={flags[0]}", *flags[1:],
                )  # fmt: skip
                summary = run.finish()
                self.check(run, summary, epochs)
                self.assertEqual(summary["stop_reason"], "every worker has finished; in quarantine: worker-1")
                self.assertEqual(summary["samples"], epochs * 50 * PER_EPOCH)

    def test_rounds_close_without_it(self):
        run = self.start_run(self.data(lambda i: i % 2 == 1), "--epochs=4", "--aggregation=round")
        summary = run.finish()
        self.check(run, summary, 4)
        self.assertEqual(summary["steps"], 4 * PER_EPOCH)
        self.assertEqual(summary["stop_reason"], f"{4 * PER_EPOCH} rounds are closed")

    def test_when_all_are_out_the_run_says_so_and_fails(self):
        run = self.start_run(self.data(lambda i: True), "--epochs=100")
        self.assertEqual(run.wait(), 2, run.everything())
        self.assertIn("no worker is left to train", run.output())
        for name in ("worker-0", "worker-1"):
            self.assertIn(f"{name} ended with exit code 3", run.output())
        self.assertEqual(run.summary()["quarantined"], 2)


if __name__ == "__main__":
    main()
