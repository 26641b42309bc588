"""One file per kind of data set; `load(argument, data_dir) -> Source` is all it must hold."""
