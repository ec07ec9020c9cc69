#!/usr/bin/env -S python3 -B
"""--aggregation=round is exact: the same bits on every run, for any number of shards and in any order of start, and
what one process computes on the batches together, to float32 rounding."""

import array
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import PS, WORKER, TestCase, main, read, weights  # noqa: E402

LONG_LEASE = "--lease=10m"  # nobody dies: not on a busy machine either
TRAINING = ["--optimizer=momentum", "--weight_decay=0.001", "--learning_rate=0.05", "--seed=7"]
DATA = ["--model=mlp:16", "--data=synthetic:2000"]
UNEQUAL = [10, 20, 40]  # batches


class Sync(TestCase):
    def round_run(self, num_ps, batches, *flags):
        """The final weights' file of a run."""
        own = ";".join(f"{rank}:--batch={batch}" for rank, batch in enumerate(batches))
        run = self.run_leeway(
            "--aggregation=round",
            f"--num_ps={num_ps}",
            f"--num_workers={len(batches)}",
            f"--worker_flags={own}",
            "--epochs=1",
            f"--ps_flags={LONG_LEASE}",
            *TRAINING,
            *flags,
        )
        summary = run.finish()
        self.assertEqual(summary["evaluations"][-1]["weights_crc32c"], int(summary["weights_crc32c"], 16))
        return summary, weights(run.path("final.safetensors"))

    def test_five_runs_on_1_2_and_4_shards_give_the_same_bits(self):
        results = []
        for num_ps, straggle in ((1, ""), (2, "0:3"), (4, "1:3"), (2, "2:3"), (1, "")):
            summary, final = self.round_run(num_ps, UNEQUAL, f"--straggle={straggle}" if straggle else "--jitter=1")
            results.append((summary["weights_crc32c"], summary["steps"], summary["samples"], final))
        for result in results[1:]:
            self.assertEqual(result[:3], results[0][:3])
            self.assertEqual(result[3], results[0][3])

    def test_a_ps_without_blocks_changes_nothing(self):
        # 7,850 parameters are two blocks: the third ps has none.
        results = [self.round_run(num_ps, UNEQUAL, "--model=softmax") for num_ps in (1, 3)]
        for key in ("weights_crc32c", "steps", "samples"):
            self.assertEqual(results[0][0][key], results[1][0][key])
        self.assertEqual(results[0][1], results[1][1])

    def test_another_weight_decay_gives_other_bits(self):
        # So that equality above means something.
        crcs = {self.round_run(1, UNEQUAL, f"--weight_decay={decay}")[0]["weights_crc32c"] for decay in (0.001, 0.002)}
        self.assertEqual(len(crcs), 2)

    def test_workers_equal_one_process_on_their_batches_together(self):
        # 10 records: 4 workers own 3, 3, 2 and 2 of them, all of which are in every round, as in one worker's batch.
        few = ["--data=synthetic:10", "--epochs=30"]
        four = self.round_run(2, [3] * 4, *few)
        one = self.round_run(1, [10], *few)
        self.assertEqual((four[0]["steps"], four[0]["samples"]), (30, 300))
        self.assertEqual((one[0]["steps"], one[0]["samples"]), (30, 300))
        self.assertEqual(sorted(four[1]), sorted(one[1]))
        for name, values in four[1].items():
            got, expected = array.array("f", values), array.array("f", one[1][name])
            self.assertEqual(len(got), len(expected))
            worst = max(abs(a - b) for a, b in zip(got, expected))
            self.assertLess(worst, 1e-5 * max(map(abs, expected)) + 1e-7, name)

    def test_the_order_in_which_workers_start_does_not_matter(self):
        finals = []
        for order in ((0, 1, 2), (2, 0, 1)):
            finals.append(self.by_hand(order))
        self.assertTrue(finals[0])
        self.assertEqual(*finals)

    def by_hand(self, order):
        """The final weights of a cluster whose workers come in this order, each after the one before has joined."""
        tag = "".join(map(str, order))
        port_file = os.path.join(self.folder, f"port{tag}")
        final = os.path.join(self.folder, f"final{tag}")
        policy = ["--aggregation=round", "--num_workers=3", "--epochs=1", LONG_LEASE, *TRAINING]
        shard = self.start(f"ps{tag}", PS, "--listen=127.0.0.1:0", f"--port_file={port_file}", *policy)
        self.wait_until(lambda: read(port_file).endswith("\n"), "the ps", shard.output)
        to = f"--coordinator={read(port_file).strip()}"
        children = [shard]
        evaluator = ["--name=eval", "--role=eval", f"--final_weights={final}", *DATA]
        children.append(self.start(f"eval{tag}", WORKER, to, *evaluator))
        for count, rank in enumerate(order, 1):
            flags = [f"--name=w{rank}", f"--rank={rank}", f"--batch={UNEQUAL[rank]}", "--pipeline_depth=0", *DATA]
            children.append(self.start(f"w{rank}-{tag}", WORKER, to, *flags))
            # It has been counted when the ps says so in its complaints; the last one begins the training.
            if count < 3:
                children[-1].wait_for(rf"waiting to join: {count} of 3")
        for child in children:
            self.assertEqual(child.wait(), 0, child.output())
        self.assertTrue(re.search("TRAINING: training begins with 3 workers", shard.output()))
        return weights(final)


if __name__ == "__main__":
    main()
