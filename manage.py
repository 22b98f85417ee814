#!/usr/bin/env python
"""The command line of a checkout; an installed package has the console script `memoryhub` instead."""

from memoryhub.command_line import main

if __name__ == "__main__":
    main()
