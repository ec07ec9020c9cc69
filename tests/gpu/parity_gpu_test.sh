#!/bin/bash
# The parity suite on the first GPU.
exec "$1" --device=cuda:0
