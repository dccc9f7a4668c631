"""Measurements that the README and the changelog quote; the README lists the programs, the other files are parts."""
