"""Tests of reads on standbys. They go with the folder `kit/replicas`."""
