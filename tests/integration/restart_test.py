#!/usr/bin/env -S python3 -B
"""Servers that are killed and started again: training goes on, and every record is trained on exactly once."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from by_hand import RECORDS, ByHand, free_port  # noqa: E402
from harness import main, weights  # noqa: E402


class Restart(ByHand):
    def test_the_coordinator_is_killed(self):
        self.start_cluster()
        first = self.servers[0]
        first.kill()
        first.wait()
        second = self.start_ps(0, self.port, name="ps-0-again")
        self.servers.append(second)
        second.wait_for("the coordinator is back: run [0-9a-f]+, TRAINING, 3 members")
        # And once more: what a restarted one saves is as good.
        second.wait_for("evaluation after")
        second.kill()
        second.wait()
        self.servers.append(self.start_ps(0, self.port, name="ps-0-again-2"))
        self.assert_all([first, second])
        # Nobody had to join again.
        for worker in self.workers:
            self.assertEqual(len(re.findall("joined as", worker.output())), 1, self.everything())
        # The end is remembered too.
        late = self.start_ps(0, self.port, name="ps-0-late")
        self.assertNotEqual(late.wait(), 0)
        self.assertRegex(late.stderr(), "checkpoint_dir=.*the run is finished")
        self.assertEqual(len(late.stderr().strip().splitlines()), 1, late.stderr())

    def test_another_ps_is_killed_and_comes_back_at_another_address(self):
        self.start_cluster()
        killed = self.servers[1]
        killed.kill()
        killed.wait()
        self.servers.append(self.start_ps(1, free_port(), name="ps-1-again"))
        self.servers[0].wait_for("ps 1 is back")
        self.assert_all([killed])

    def test_both_servers_are_killed_at_once(self):
        self.start_cluster()
        killed = list(self.servers)
        for server in killed:
            server.kill()
        for server in killed:
            server.wait()
        self.servers += [self.start_ps(1, 0, name="ps-1-again"), self.start_ps(0, self.port, name="ps-0-again")]
        self.assert_all(killed)

    def test_rounds_give_the_same_weights_whoever_was_killed(self):
        rounds = ["--aggregation=round", "--staleness_bound=0"]
        self.cluster = "undisturbed"
        self.start_cluster(*rounds)
        self.assert_all([])
        expected = weights(self.final)
        self.cluster = "disturbed"
        self.start_cluster(*rounds)
        killed = list(self.servers)
        for server in killed:
            server.kill()
            server.wait()
        self.servers.append(self.start_ps(0, self.port, *rounds, name="ps-0-again"))
        self.servers.append(self.start_ps(1, 0, name="ps-1-again"))
        self.assert_all(killed)
        self.assertEqual(weights(self.final), expected)

    def test_tickets_are_given_once(self):
        tickets = ["--max_delay=4"]
        self.start_cluster(*tickets)
        killed = self.servers[0]
        killed.kill()
        killed.wait()
        self.servers.append(self.start_ps(0, self.port, *tickets, name="ps-0-again"))
        # While one push waits for the dead, the others' are refused by their delay, the same records perhaps too often.
        self.assertLess(self.finish([killed]), RECORDS)

    def test_a_ps_that_is_started_again_after_the_end_ends_as_well(self):
        self.start_cluster()
        self.assert_all()
        # Nobody is there any more who could tell it: its journal does.
        again = self.start_ps(1, 0, name="again")
        self.assertEqual(again.wait(), 0, again.output())
        self.assertIn("the run is finished", again.output())

    def test_another_policy_is_refused_by_name(self):
        self.start_cluster("--staleness_bound=3")
        self.servers[0].kill()
        self.servers[0].wait()
        other = self.start_ps(0, self.port, "--staleness_bound=4", name="ps-0-other")
        self.assertNotEqual(other.wait(), 0)
        self.assertRegex(other.stderr(), "checkpoint_dir=.*staleness_bound: 3 -> 4")

    def test_a_folder_of_its_own_is_refused(self):
        """As where each `ps` has a volume of its own: there would never be a checkpoint."""
        self.port = free_port()
        first = self.start_ps(0, self.port)
        other = self.start_ps(1, 0, f"--checkpoint_dir={self.folder}/own")
        self.assertEqual(other.wait(), 2, other.output())
        self.assertRegex(other.stderr(), "checkpoint_dir=.*/own: ps 0 has nothing in it.*one folder that all ps share")
        self.start_ps(1, 0, name="ps-1-again")
        first.wait_for("ps 1 (of 2 has come|is back)")


if __name__ == "__main__":
    main()
