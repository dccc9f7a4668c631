"""Measurements that the README and the changelog quote; each file is a program."""
