"""`python -m earkit.cli` is `kit`: for `accelerate launch -m earkit.cli …`."""

from earkit.cli.main import main

if __name__ == "__main__":
    main()
