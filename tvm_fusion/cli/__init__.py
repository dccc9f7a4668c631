"""The command line ``tvm-fusion``: one file a sub-command."""
