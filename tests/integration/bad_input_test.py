#!/usr/bin/env -S python3 -B
"""Bad input: one clear line and a non-zero exit, and a running cluster is not disturbed."""

import gzip
import os
import re
import signal
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import LEEWAY, PS, WORKER, TestCase, main, read, read_bytes  # noqa: E402

NOBODY = "--coordinator=127.0.0.1:1"  # nothing listens there: what is refused is refused before it is asked
SMALL = ["--model=softmax", "--data=synthetic:100"]
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+ [IW] ")  # information and warnings: what happened before


class BadInput(TestCase):
    def refused(self, child, *words):
        """`child` exits non-zero with one line, which holds all of `words`."""
        self.assertGreater(child.wait(), 0, child.output())
        lines = [line for line in child.output().splitlines() if line and not LOG_LINE.match(line)]
        self.assertEqual(len(lines), 1, child.output())
        for word in words:
            self.assertIn(word, lines[0])

    def all_refused(self, program, cases):
        """Each case is (flags, words); they run side by side."""
        children = []
        for number, (flags, words) in enumerate(cases):
            children.append((self.start(f"{program[0].split('/')[-1]}{number}", *program, *flags), words))
        for child, words in children:
            with self.subTest(words=words):
                self.refused(child, *words)

    def test_flags_of_ps(self):
        self.all_refused(
            [PS],
            [
                (["--staleness_bund=1"], ["unknown flag --staleness_bund", "did you mean --staleness_bound?"]),
                (["--checkpoint_steps=5"], ["--checkpoint_steps=5", "--checkpoint_dir"]),
                (["--checkpoint_interval=1m"], ["--checkpoint_interval=1m", "--checkpoint_dir"]),
                (["--checkpoint_keep=9"], ["--checkpoint_keep=9", "--checkpoint_dir"]),
                (["--keep_journal"], ["--keep_journal=true", "--journal=on"]),
                (["--checkpoint_dir=/proc/none"], ["--checkpoint_dir=/proc/none", "No such file"]),
                (["--staleness_bound=-2"], ["--staleness_bound=-2", "-1, 0 and above"]),
                (["--aggregation=round", "--staleness_bound=1"], ["--staleness_bound=1", "--aggregation=round"]),
                (["--aggregation=round", "--max_delay=3"], ["--aggregation=round", "--max_delay"]),
                (["--aggregation=round", "--data_sharing=leased"], ["--data_sharing=leased", "static"]),
                (["--round_quorum=1"], ["--round_quorum=1", "--aggregation=round"]),
                (
                    ["--aggregation=round", "--round_quorum=3", "--num_workers=2"],
                    ["--round_quorum=3", "--num_workers=2"],
                ),
                (["--optimizer=sdg"], ["--optimizer=sdg", "sgd", "adamw"]),
                (["--clip_norm=1", "--push_atomicity=stream"], ["--push_atomicity=stream", "--clip_norm"]),
                (["--patience=2"], ["--patience=2", "--target_metric"]),
                (["--learning_rate=-1"], ["--learning_rate=-1", "above 0"]),
                (["--schedule=cosine"], ["--schedule_total_samples=0", "above --warmup_samples=0"]),
                (["--optimizer=adam", "--beta1=2"], ["--beta1=2", "below 1"]),
                (["--lease=5"], ["--lease=5", "duration"]),
                (["--num_shards=2", "--shard_index=1"], ["--coordinator", "shard 0"]),
                (["--num_shards=2", "--shard_index=2", NOBODY], ["shard_index", "2"]),
                ([NOBODY, "--advertise=host:1"], ["--coordinator", "shard 0", "--advertise"]),
                (["surplus"], ["surplus", "flags only"]),
                (["--listen=foo"], ["--listen=foo", "host:port"]),
                (["--listen=0.0.0.0:0"], ["--listen=0.0.0.0:0", "--advertise"]),
                (["--listen=[::]:0"], ["--listen=[::]:0", "--advertise"]),
                (["--listen=0.0.0.0:0", "--advertise=ps:1"], ["--listen=0.0.0.0:0", "--tls_cert_file", "--insecure"]),
                (["--listen=10.0.0.1:0"], ["--listen=10.0.0.1:0", "--tls_cert_file", "--insecure"]),
                (["--tls_cert_file=/no/such"], ["--tls_key_file=", "go together"]),
                (["--tokens_file=/no/such"], ["--tokens_file", "/no/such", "No such file"]),
                (["--advertise=foo"], ["--advertise=foo", "host:port"]),
                (["--advertise=host:99999"], ["--advertise=host:99999", "65535"]),
                (["--advertise=0.0.0.0:1"], ["--advertise=0.0.0.0:1", "host:port"]),
                (["--linger=-1s"], ["--linger=-1s", "0 to 24h"]),
                (["--linger=25h"], ["--linger=25h", "0 to 24h, or inf"]),
                (["--abandon_timeout=0"], ["--abandon_timeout=0", "more than 0"]),
                (["--give_up_after=-1m"], ["--give_up_after=-1m", "more than 0"]),
                (["--start_timeout=0s"], ["--start_timeout=0", "more than 0"]),
                (["--max_held_bytes=0"], ["--max_held_bytes=0", "1 to "]),
                (["--port_file=/no/such/port"], ["--port_file=/no/such/port", "a file that can be written", "No such"]),
                (["--num_evaluators=4294967295"], ["--num_evaluators=4294967295", "0 to 4096"]),
            ],
        )

    def test_flags_of_worker(self):
        self.all_refused(
            [WORKER],
            [
                (["--bach=1"], ["unknown flag --bach", "did you mean --batch?"]),
                (SMALL, ["--coordinator", "host:port"]),
                ([NOBODY], ["--data", "synthetic:RECORDS"]),
                ([NOBODY, *SMALL, "--batch=0"], ["--batch=0", "1 to 65536"]),
                ([NOBODY, *SMALL, "--device=tpu"], ["tpu", "cpu"]),
                ([NOBODY, *SMALL, "--model=mlp:0"], ["mlp:0"]),
                ([NOBODY, *SMALL, "--model=resnet"], ["resnet", "cnn"]),
                ([NOBODY, *SMALL, "--role=boss"], ["--role=boss", "train, eval"]),
                ([NOBODY, *SMALL, "--pipeline_depth=99"], ["--pipeline_depth=99", "0 to 14"]),
                ([NOBODY, "--data=synthetic:many"], ["synthetic:many", "number"]),
                ([NOBODY, "--data=csv:"], ["csv:", "behind the colon", "csv:TRAIN[,TEST]"]),
                ([NOBODY, *SMALL, "--token_file=/no/such"], ["--token_file", "/no/such", "No such file"]),
                ([NOBODY, *SMALL, "--init_from=/tmp"], ["--init_from=/tmp", "Is a directory"]),
                (
                    [NOBODY, *SMALL, "--role=eval", "--final_weights=/no/such/final"],
                    ["--final_weights=/no/such/final", "folder", "No such file"],
                ),
            ],
        )

    def test_flags_of_leeway_run(self):
        full = os.path.join(self.folder, "full")
        os.mkdir(full)
        with open(os.path.join(full, "precious"), "w", encoding="utf-8") as file:
            file.write("kept")
        self.all_refused(
            [LEEWAY, "run"],
            [
                (["--num_pss=2"], ["unknown flag --num_pss", "did you mean --num_ps?"]),
                (["--checkpoint_dir=/tmp/x"], ["unknown flag --checkpoint_dir", "--ps_flags"]),
                (["--lease=2s"], ["does not take --lease", "--ps_flags"]),
                ([*SMALL, "--num_ps=0"], ["--num_ps=0", "1 to 64"]),
                ([*SMALL, "--num_workers=0"], ["--num_workers=0"]),
                (["--model=softmax"], ["--data"]),
                ([*SMALL, "--staleness_bound=0", "--pipeline_depth=1"], ["--pipeline_depth=1", "bound of 0"]),
                ([*SMALL, "--straggle=1:2"], ["--straggle=1:2", "from 0 to 0"]),
                ([*SMALL, "--worker_flags=0:--bach=2"], ["--bach=2"]),
                ([*SMALL, "--rank=1"], ["--rank=1", "leeway run sets this flag itself"]),
                ([*SMALL, f"--out={full}"], [f"--out={full}", "new or empty"]),
                ([*SMALL, "now"], ["flags only", "now"]),
                ([*SMALL, "--model=resnet"], ["--model=resnet", "softmax, mlp[:hidden,...], cnn"]),
                ([*SMALL, "--device=tpu"], ["--device=tpu", "auto, cpu"]),
                ([*SMALL, "--data=/no/such"], ["/no/such", "no directory"]),
                ([*SMALL, "--init_from=/no/such"], ["--init_from=/no/such", "No such file"]),
                ([*SMALL, "--init_from=/tmp"], ["--init_from=/tmp", "a file", "Is a directory"]),
                ([*SMALL, "--best_weights=/no/such/best"], ["--best_weights=/no/such/best", "folder", "No such file"]),
                ([*SMALL, "--worker_flags=0:--model=resnet"], ["--model=resnet"]),
            ],
        )
        for verb in ("run", "bench apply"):  # that is for other verbs, not for these
            child = self.start(verb, "env", "LEEWAY_COORDINATOR=h:1", LEEWAY, *verb.split(), "--data=/no/such")
            self.refused(child, "/no/such: is no directory")
        # Refused before anything has been started or made.
        self.assertNotIn("runs", os.listdir(self.folder))
        self.assertEqual(os.listdir(full), ["precious"])
        self.refused(self.start("verb", LEEWAY, "walk"), "unknown verb walk")

    def test_busy_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            ps = self.start("ps", PS, f"--listen={address}")
            self.refused(ps, address)
            self.assertEqual(ps.wait(), 2)  # who has it may let it go: it is worth another start
            page = f"--http_port={address.split(':')[1]}"
            for name, command in (("ps-page", [PS]), ("worker-page", [WORKER, *SMALL, NOBODY])):
                child = self.start(name, *command, page)
                self.refused(child, address)
                self.assertEqual(child.wait(), 2)

    def idx_folder(self, name, changes):
        """A folder of 4 images of 2 x 2 with labels in IDX; `changes`: other contents by file name."""
        images = struct.pack(">4i", 2051, 4, 2, 2) + bytes(range(16))
        labels = struct.pack(">2i", 2049, 4) + bytes([0, 1, 2, 3])
        files = {}
        for split in ("train", "t10k"):
            files[f"{split}-images-idx3-ubyte"] = images
            files[f"{split}-labels-idx1-ubyte"] = labels
        folder = os.path.join(self.folder, name)
        os.mkdir(folder)
        for file_name, content in {**files, **changes}.items():
            if content is not None:
                with open(os.path.join(folder, file_name), "wb") as file:
                    file.write(content)
        return f"--data={folder}"

    def test_idx_files(self):
        images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
        good = struct.pack(">4i", 2051, 4, 2, 2) + bytes(range(16))
        cases = [
            ({images: None}, [images, "not there"]),
            ({images: good[:-3]}, [images, "truncated"]),
            ({images: good[:7]}, [images, "truncated"]),
            ({images: None, images + ".gz": gzip.compress(good[:-3])}, [images + ".gz", "truncated"]),
            ({images: None, images + ".gz": gzip.compress(good)[:-12]}, [images + ".gz"]),
            ({images: None, images + ".gz": b"no gzip at all"}, [images + ".gz"]),
            ({images: struct.pack(">2i", 2049, 4) + bytes(4)}, [images]),
            ({labels: good}, [labels]),
            ({labels: struct.pack(">2i", 2049, 3) + bytes(3)}, ["4 images", "3 labels"]),
            ({labels: struct.pack(">2i", 2049, 4) + bytes([0, 1, 2, 99])}, [labels, "label 3 is 99"]),
            ({images: good + b"more"}, [images, "more bytes follow"]),
        ]
        flags = [
            ([NOBODY, "--model=softmax", self.idx_folder(f"data{number}", changes)], words)
            for number, (changes, words) in enumerate(cases)
        ]
        flags.append(([NOBODY, "--data=" + os.path.join(self.folder, "nowhere")], ["nowhere", "no directory"]))
        self.all_refused([WORKER], flags)

    def test_flags_of_its_ps_end_leeway_run(self):
        for flags, words in (
            ("--lease=1ms", ["--lease=1ms", "500ms to 1h"]),
            ("--leese=1s", ["unknown flag --leese", "did you mean --lease?"]),
        ):
            run = self.run_leeway(f"--ps_flags={flags}", "--num_ps=2")
            self.assertEqual(run.wait(), 1, run.everything())
            self.assertIn("ps-0 ended with exit code 1", run.stderr())
            for word in words:
                self.assertIn(word, run.stderr())
            self.wait_until_gone()

    def test_bad_data_ends_leeway_run(self):
        # The start waits for the evaluator, too.
        for who, labels in (("worker-0", "train-labels-idx1-ubyte"), ("eval", "t10k-labels-idx1-ubyte")):
            run = self.run_leeway(self.idx_folder(who, {labels: struct.pack(">2i", 2049, 4)}))
            self.assertEqual(run.wait(), 1, run.everything())
            self.assertIn(f"{who} ended with exit code 1 before training began", run.stderr())
            self.assertIn(f"{labels}: is truncated", run.stderr())
            self.wait_until_gone()

    def test_init_from(self):
        run = self.run_leeway("--epochs=1")
        run.finish()
        good = run.path("final.safetensors")
        short, junk = (os.path.join(self.folder, name) for name in ("short", "junk"))
        for path, content in ((short, read_bytes(good)[:-100]), (junk, b"\xff" * 64)):
            with open(path, "wb") as file:
                file.write(content)
        model = [NOBODY, "--data=synthetic:100", "--model=mlp:16"]
        self.all_refused(
            [WORKER],
            [
                ([*model[:2], "--model=mlp:8", f"--init_from={good}"], [good, "shape"]),
                ([*model[:2], "--model=softmax", f"--init_from={good}"], [good, "softmax"]),
                ([*model, f"--init_from={short}"], [short]),
                ([*model, f"--init_from={junk}"], [junk]),
                ([*model, f"--init_from={good}.not"], [good + ".not"]),
            ],
        )

    def test_unreachable(self):
        limit = ["--start_timeout=12s"]
        worker = self.start("worker", WORKER, NOBODY, *SMALL, *limit)
        shard = self.start("ps", PS, "--num_shards=2", "--shard_index=1", NOBODY, *limit)
        # Who, where and why, before giving up too.
        worker.wait_for(r" W .*no answer from the coordinator at 127\.0\.0\.1:1 .*(refused|failed to connect)")
        shard.wait_for(r" W .*waiting for the coordinator at 127\.0\.0\.1:1: .*(refused|failed to connect)")
        for child in (worker, shard):
            self.assertEqual(child.wait(), 2, child.output())
            self.assertRegex(child.output(), r"(gave up on|coordinator) .*127\.0\.0\.1:1 (after|not reached for) 1\ds")

    def test_a_running_cluster_refuses_strangers_and_goes_on(self):
        run = self.run_leeway("--num_ps=2", "--num_workers=2", "--epochs=2", "--pace=20ms", "--ps_flags=--lease=10m")
        run.wait_until_training()
        # It stands still meanwhile, so that it cannot be over before the strangers come.
        workers = [run.pid_of(f"worker-{i}") for i in range(2)]
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        to = f"--coordinator={run.coordinator()}"
        right = [to, "--model=mlp:16", "--data=synthetic:2000"]
        self.all_refused(
            [WORKER, "--name=stranger"],
            [
                ([to, "--model=mlp:17", "--data=synthetic:2000"], ["fingerprint", "'mlp:17'", "'mlp:16'"]),
                ([to, "--model=mlp:16", "--data=synthetic:1999"], ["number of records", "1999", "2000"]),
                ([*right, "--num_shards=3"], ["num_shards is 3", "2"]),
                ([*right, "--rank=1"], ["rank 1", "worker-1"]),
                ([to, "--model=mlp:16", "--data=synthetic:1000", "--role=eval"], ["test", "in this cluster"]),
            ],
        )
        self.all_refused(
            [PS, to],
            [
                (["--num_shards=3", "--shard_index=1"], ["ps 1 of 3", "num_shards 2"]),
                (["--num_shards=2", "--shard_index=1"], ["ps 1", "generation"]),
            ],
        )
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        summary = run.finish()
        self.assertEqual(summary["samples"], 2 * 2000)
        self.assertIn("'stranger' was refused", read(run.path("ps-0.log")))


if __name__ == "__main__":
    main()
