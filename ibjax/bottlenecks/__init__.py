"""Restricted channels: features in, a code and the rate it pays out. One file each."""
