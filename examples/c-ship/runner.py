"""Runs one job of a workflow as a runner of GitHub's does, as far as the written one needs it: a new folder and a new home for the
job, a clone for `actions/checkout`, each step's `env` filled in and nothing else handed on, `run` by bash, GITHUB_PATH. Other actions
are left out. What stands for the repository's secrets and variables is this program's own environment: NAME for `secrets.NAME`, VARS_NAME
for `vars.NAME`; one that is not set is empty, as on GitHub.

usage: runner.py WORKFLOW JOB FOLDER REPOSITORY NAME…

FOLDER is the runner's, REPOSITORY is what is checked out, and NAME… are variables that the runner itself has. Which variables each step had is
written to FOLDER/JOB.names, what it said to the standard output, and the exit code is the step's that failed.
"""

import json
import os
import re
import subprocess
import sys

from ruamel.yaml import YAML


def filled(text):
    def value(match):
        kind, _, name = match.group(1).partition(".")
        if kind == "secrets":
            return os.environ.get(name, "")
        if kind == "vars":
            return os.environ.get("VARS_" + name, "")
        raise SystemExit(f"{match.group(0)} is not known here")

    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", value, str(text))


def git(folder, *args):
    return subprocess.run(["git", "-C", folder, *args], check=True, capture_output=True, text=True).stdout.strip()


def main():
    workflow, name, folder, repository, *own = sys.argv[1:]
    job = YAML(typ="safe").load(open(workflow))["jobs"][name]
    root = os.path.join(folder, name)
    temp, home, clone = (os.path.join(root, part) for part in ("temp", "home", "clone"))
    for made in (temp, home):
        os.makedirs(made)
    paths, event = os.path.join(temp, "paths"), os.path.join(temp, "event.json")
    open(paths, "w").close()
    names = open(os.path.join(folder, name + ".names"), "w")
    for step in job["steps"]:
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            if step["with"]["fetch-depth"] != 0:
                raise SystemExit("the history is not whole")
            subprocess.run(["git", "clone", "-q", repository, clone], check=True)
            before, after = git(clone, "rev-parse", "HEAD~1"), git(clone, "rev-parse", "HEAD")
            with open(event, "w") as file:
                json.dump({"before": before, "after": after}, file)
            continue
        if "run" not in step:
            continue
        env = {variable: os.environ[variable] for variable in own}
        added = open(paths).read().split()
        env["PATH"] = ":".join([*reversed(added), env["PATH"]])
        env.update(HOME=home, RUNNER_TEMP=temp, GITHUB_PATH=paths, CI="true")
        env.update(GITHUB_EVENT_NAME="push", GITHUB_EVENT_PATH=event)
        env.update({variable: filled(text) for variable, text in step.get("env", {}).items()})
        names.write(step["name"] + ": " + " ".join(sorted(step.get("env", {}))) + "\n")
        names.flush()
        print("$ " + step["run"].strip(), flush=True)
        bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        ended = subprocess.run(bash, cwd=clone, env=env)
        if ended.returncode != 0:
            sys.exit(ended.returncode)


main()
