"""What the machine and other launchers do to a run: limits on files, torchrun, srun and mpirun; and prompts that can be read once."""

import os
import resource
import subprocess

import support
from support import CommandBase, metrics, run


class LimitsTest(CommandBase):
    def test_a_limit_on_files_is_a_sentence(self):
        def limited(limit, *arguments):
            return subprocess.run([support.SHOAL, "train", "r.toml", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))

        done = limited(1 << 20, "--devices", "2", "--out", "two")
        self.assertEqual((done.returncode, done.stderr),
                         (1, "shoal: shared memory - size: got a limit of 1.0 MiB on files, want none: devices share a file without a name, of 3.0 TiB that take no room "
                             "until they are used; say ulimit -f unlimited, or use one device\n"))
        for limit, file in [(0, "recipe.toml"), (1500, "plan.txt"), (50_000, "checkpoints/.step-4.partial/owner-00000.safetensors")]:
            done = limited(limit, "--out", f"limit-{limit}")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr, rf"(?m)^shoal: limit-{limit}/{file} - cannot be written: File too large; [^\n]*$")


class LaunchersTest(CommandBase):
    def test_one_of_many_lone_runs_is_refused(self):
        for variables, name, launcher in [({"WORLD_SIZE": "3", "RANK": "1", "LOCAL_RANK": "1"}, "WORLD_SIZE", "torchrun"),
                                          ({"OMPI_COMM_WORLD_SIZE": "3"}, "OMPI_COMM_WORLD_SIZE", "mpirun"),
                                          ({"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, "SLURM_STEP_NUM_TASKS", "srun")]:
            for arguments in (["train", "r.toml"], ["train", "r.toml", "--devices", "2"], ["run", "-n", "2", "true"]):
                done = subprocess.run([support.SHOAL, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60, env={**os.environ, **variables})
                self.assertEqual((done.returncode, done.stderr),
                                 (2, f"shoal: {name} - environment: got 3 processes started by {launcher}, each of which would run alone, want one command that starts its "
                                     f"devices itself: shoal run -n 3 PROGRAM, or shoal train RECIPE --devices 3; if each is to run alone, start it with env -u {name}\n"))
        self.assertFalse((self.folder / "runs").exists())
        inside = {**os.environ, "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "WORLD_SIZE": "1", "RANK": "0"}
        done = subprocess.run([support.SHOAL, "train", "r.toml", "--until", "4", "--devices", "2"], cwd=self.folder, capture_output=True, text=True, timeout=60, env=inside)
        self.assertEqual(done.returncode, 0, done.stderr)


class PromptsTest(CommandBase):
    def test_prompts_that_can_be_read_once_reach_every_device(self):
        self.train("--out", "o", "--until", "4")
        prompts = "".join(f"line {i} of\n" for i in range(5))
        (self.folder / "prompts.txt").write_text(prompts)
        os.mkfifo(self.folder / "fifo")
        generate = f"{support.SHOAL} generate o/checkpoints/latest --tokens 5"
        wanted = self.shoal("generate", "o/checkpoints/latest", "--tokens", "5", "--prompts", "prompts.txt")
        self.assertEqual(wanted.stdout.count("---\n"), 4, wanted.stderr)
        for devices in (1, 2, 3):
            for command in [f"{generate} --prompts /dev/stdin --devices {devices} < prompts.txt", f"cat prompts.txt | {generate} --prompts - --devices {devices}",
                            f"{generate} --prompts <(cat prompts.txt) --devices {devices}", f"cat prompts.txt > fifo & {generate} --prompts fifo --devices {devices}"]:
                done = subprocess.run(["bash", "-c", command], cwd=self.folder, capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (0, wanted.stdout), command + done.stderr)
        done = subprocess.run(["bash", "-c", f"cat prompts.txt | {support.SHOAL} run -n 2 {generate} --prompts -"], cwd=self.folder, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, wanted.stdout), done.stderr)
        self.assert_refused(["generate", "o/checkpoints/latest", "--prompts", "o"], "o - cannot be read: want a file with a prompt on each line")


if __name__ == "__main__":
    support.main()
