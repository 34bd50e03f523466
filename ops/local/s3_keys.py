"""Answers rclone which folder a pair of keys opens: the program of its option `--auth-proxy`.

rclone writes the name of a request's key to standard input. It reads from standard output the secret that the request
must be signed with, and the folder (https://rclone.org/commands/rclone_serve_s3/). The answers are in the environment,
prepared by `ops.local.environment`. Imports are few, because a request may wait for this program.
"""

from __future__ import annotations

import json
import os
import sys

#: Environment variable that holds the answers by the key's name, as a JSON object.
OPENS = "ACCIDENTS_S3_OPENS"


def main() -> None:
    """Answer, or end with status 1 for an unknown key."""
    key_id = json.load(sys.stdin)["user"]
    answers = json.loads(os.environ[OPENS])
    if key_id not in answers:
        sys.exit("This key is not known.")
    json.dump(answers[key_id], sys.stdout)


if __name__ == "__main__":
    main()
