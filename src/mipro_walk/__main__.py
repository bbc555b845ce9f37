"""``python -m mipro_walk``: the command line."""

from mipro_walk.cli.main import run

if __name__ == "__main__":
    run()
