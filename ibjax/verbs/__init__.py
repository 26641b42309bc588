"""One file per verb of the binary; `run(argv) -> int` is all it must hold."""
