"""Files as the programs of microscopes write them: sets of files that make one image together."""
