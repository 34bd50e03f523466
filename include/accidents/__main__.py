"""The commands on folders of files: `python -m include.accidents COMMAND`."""

from include.accidents.cli.main import app

if __name__ == "__main__":
    app(prog_name="python -m include.accidents")
