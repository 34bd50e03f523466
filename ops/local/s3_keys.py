"""Tell rclone what a pair of keys opens: the program of its option `--auth-proxy`.

rclone asks it on standard input for the name of a key that a request bears, and reads from standard output the secret
that the request must be signed with and the folder that it is about (https://rclone.org/commands/rclone_serve_s3/). The
answers stand in the environment, ready made by `ops.local.environment`. Imports stay few: a request may wait for it.
"""

from __future__ import annotations

import json
import os
import sys

#: Environment variable that holds the answers by the key's name, as a JSON object.
OPENS = "ACCIDENTS_S3_OPENS"


def main() -> None:
    """Answer, or end with status 1 for a key that nobody was given."""
    asked = json.load(sys.stdin)["user"]
    answers = json.loads(os.environ[OPENS])
    if asked not in answers:
        sys.exit("This key is not known.")
    json.dump(answers[asked], sys.stdout)


if __name__ == "__main__":
    main()
