"""Tests of the traces, with a collector that receives them."""
