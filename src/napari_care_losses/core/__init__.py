"""The science: usable from a script, a notebook, the command line or a cluster, without a viewer."""
